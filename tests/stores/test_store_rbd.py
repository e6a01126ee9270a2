"""The RBD store on a real Ceph cluster: the suite, and what only RBD can do wrong."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from faults.loop import run
from rbd_pool_view import PoolView, own_pool
from real_servers import CephCluster
from subject import IMAGE, OTHER, Subject, content, read_all

from glance_stream.errors import NotFound
from glance_stream.model import Location
from glance_stream.stores.base import Store


@pytest.fixture(scope="module")
def pool(ceph: CephCluster) -> Iterator[PoolView]:
    with own_pool(ceph, f"test {secrets.token_hex(4)}/é") as view:
        yield view


@pytest.fixture
def view(pool: PoolView) -> Iterator[PoolView]:
    yield pool
    pool.empty()


class TestRbdStore(StoreConformance):
    @pytest.fixture
    def subject(self, view: PoolView) -> Iterator[Subject]:
        store = view.store("Bär")
        yield view.subject(store)
        run(store.close())

    def test_what_is_not_there_is_not_found(self, store: Store, stored: tuple[Location, bytes]) -> None:
        """As in the suite, but the image's id is the last part but one."""
        missing = Location(stored[0].url.replace(IMAGE, OTHER), store.store_id)
        with pytest.raises(NotFound):
            run(store.stat(missing))
        with pytest.raises(NotFound):
            read_all(store.open_reader(missing))
        assert run(store.find(OTHER)) is None

    def test_owns_by_whole_components(self, store: Store, stored: tuple[Location, bytes]) -> None:
        prefix, fsid, pool, image, snapshot = stored[0].url.replace("://", "/").split("/")
        assert store.owns(f"rbd://{fsid}/{pool}/{OTHER}/{snapshot}")
        for foreign in (
            f"rbd://{fsid}2/{pool}/{image}/{snapshot}",
            f"rbd://{fsid}/{pool}2/{image}/{snapshot}",
            f"rbd://{fsid}/{pool}%2f/{image}/{snapshot}",
            f"rbd://{fsid}/{pool}/{image}",
            f"rbd://{fsid}/{pool}/{image}/",
            f"rbd://{fsid}/{pool}//{snapshot}",
            f"rbd://{fsid}/{pool}/{image}/{snapshot}/{snapshot}",
            f"rbd://{fsid}/{pool}/x/../{image}/{snapshot}",
            f"rbd://{fsid}/{pool}/../{snapshot}",
            f"rbd://{fsid}/{pool}/.{image}.0123456789abcdef.part/{snapshot}",
            f"rbd://{fsid}/{pool}/{image}%2fx/{snapshot}",
            f"rbd://{image}",  # of which pool?
            f"xrbd://{fsid}/{pool}/{image}/{snapshot}",
            f"rbd:/{fsid}/{pool}/{image}/{snapshot}",
            f"{prefix}://",
            image,
            "",
        ):
            assert not store.owns(foreign), foreign


class TestReadOnlyRbdStore(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, view: PoolView) -> Iterator[Subject]:
        view.make(IMAGE, content(50_000))
        store = view.store(read_only=True, user="reader")
        subject = view.subject(store)
        subject.stored = (Location(view.url(IMAGE), "ceph"), content(50_000))
        yield subject
        run(store.close())

    test_what_is_not_there_is_not_found = TestRbdStore.test_what_is_not_there_is_not_found
    test_owns_by_whole_components = TestRbdStore.test_owns_by_whole_components
