"""Our RBD store and glance_store's in one pool; and what our adapter does with what a dead writer of glance_store's left."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from both_ways import BothWays, EachServesTheOthers, System, glance_stores
from faults.loop import run
from rbd_pool_view import PoolView, own_pool
from real_servers import CephCluster
from subject import IMAGE, OTHER, content, put, read_all

from glance_stream.errors import Duplicate, ObjectBusy
from glance_stream.stores.glance_store import GlanceStoreStore


@pytest.fixture(scope="module")
def pool(ceph: CephCluster) -> Iterator[PoolView]:
    with own_pool(ceph, f"test-{secrets.token_hex(4)}") as view:
        yield view


@pytest.fixture
def view(pool: PoolView) -> Iterator[PoolView]:
    yield pool
    pool.empty()


def options_of(view: PoolView, **more: object) -> dict[str, object]:
    return {
        "rbd_store_pool": view.pool,
        "rbd_store_user": view.cluster.user,
        "rbd_store_ceph_conf": str(view.cluster.conf),
        "rbd_store_chunk_size": 4,
        "rados_connect_timeout": 20,
        **more,
    }


@contextmanager
def system_in(view: PoolView, *, thin: bool) -> Iterator[System]:
    ours = view.store("ours")
    adapter = glance_stores("rbd", **options_of(view, rbd_thin_provisioning=thin))
    yield System(ours, adapter, lambda: [*view.visible(), *view.leavings()])
    run(ours.close())


class TestRbd(BothWays):
    @pytest.fixture
    def system(self, view: PoolView) -> Iterator[System]:
        with system_in(view, thin=False) as system:
            yield system


class TestRbdOfAThinDriver(EachServesTheOthers):
    @pytest.fixture
    def system(self, view: PoolView) -> Iterator[System]:
        with system_in(view, thin=True) as system:
            yield system


@pytest.fixture
def adapter(view: PoolView) -> GlanceStoreStore:
    return glance_stores("rbd", **options_of(view))


DIE = """
import asyncio, json, os, sys
from glance_stream.stores.glance_store import GlanceStoreStore
from glance_stream.stores.rbd.bindings import load
load("gs")  # where Ceph's bindings are the distribution's and the interpreter is not
store = GlanceStoreStore("gs", "rbd", json.loads(sys.argv[1]))
async def scenario():
    writer = await store.open_writer(sys.argv[2], None)
    print(writer.trace, flush=True)
    writer.write(memoryview(b"x" * (9 << 20)))
    await writer.flush(9 << 20)
    os.kill(os.getpid(), 9)
asyncio.run(scenario())
"""


def test_what_a_killed_process_left_is_discarded_and_a_complete_image_is_not(view: PoolView, adapter: GlanceStoreStore) -> None:
    """An image is complete when it has its snapshot: that tells the two apart."""
    dead = subprocess.run(
        [sys.executable, "-c", DIE, json.dumps(options_of(view)), IMAGE],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert dead.returncode == -9
    trace = dead.stdout.decode().strip()
    assert view.visible() == {IMAGE}
    assert run(adapter.find(IMAGE)) is None
    with pytest.raises(Duplicate):
        run(put(adapter, IMAGE, b"abc"))
    assert view.visible() == {IMAGE}
    run(adapter.discard(trace))
    assert (view.visible(), view.leavings()) == (set(), [])
    run(adapter.discard(trace))
    location = run(put(adapter, IMAGE, content(70_001)))
    run(adapter.discard(trace))
    assert read_all(adapter.open_reader(location)) == content(70_001)


def test_an_image_with_a_clone_is_busy(view: PoolView, adapter: GlanceStoreStore) -> None:
    location = run(put(adapter, IMAGE, b"abc"))
    view.rbd.RBD().clone(view.ioctx, IMAGE, "snap", view.ioctx, OTHER)
    try:
        with pytest.raises(ObjectBusy):
            run(adapter.delete(location))
        assert read_all(adapter.open_reader(location)) == b"abc"
    finally:
        view.rbd.RBD().remove(view.ioctx, OTHER)
    run(adapter.delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_an_abort_in_the_middle_leaves_no_image(view: PoolView, adapter: GlanceStoreStore) -> None:
    async def scenario() -> None:
        writer = await adapter.open_writer(IMAGE, 12 << 20)
        writer.write(memoryview(bytes(9 << 20)))
        assert view.visible() == {IMAGE}
        await writer.abort()

    run(scenario())
    assert (view.visible(), view.leavings()) == (set(), [])
