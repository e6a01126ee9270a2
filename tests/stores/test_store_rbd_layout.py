"""How images of the RBD store lie in the pool: glance_store's layout, sizes that were not known, zeros that were not written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from faults.loop import run
from rbd_pool_view import PoolView
from subject import IMAGE, OTHER, content, drain_all, put, read_all, write_all

from glance_stream.errors import InvalidRequest, NotFound, StoreError
from glance_stream.model import Location
from glance_stream.stores import build
from glance_stream.stores.rbd import RbdStore
from glance_stream.stores.rbd.sparse import BLOCK, data_runs

MIB = 1 << 20


@pytest.fixture
def store(view: PoolView) -> Iterator[RbdStore]:
    store = view.store()
    yield store
    run(store.close())


@pytest.fixture
def driver(view: PoolView) -> Any:
    """glance_store's own, on the same pool."""
    glance_store = pytest.importorskip("glance_store")
    from glance_store._drivers import rbd as driver
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    glance_store.register_opts(conf)
    conf([], default_config_files=[])
    conf.set_override("rbd_store_pool", view.pool, "glance_store")
    conf.set_override("rbd_store_user", view.cluster.user, "glance_store")
    conf.set_override("rbd_store_ceph_conf", str(view.cluster.conf), "glance_store")
    made = driver.Store(conf)
    made.configure()
    return made


def glance_location(driver: Any, url: str) -> Any:
    from glance_store import location
    from glance_store._drivers import rbd

    return location.Location("rbd", rbd.StoreLocation, driver.conf, uri=url)


def test_glance_store_reads_and_deletes_what_is_written_here(store: RbdStore, view: PoolView, driver: Any) -> None:
    data = content(300_000)
    location = run(put(store, IMAGE, data))
    assert location.url == view.url(IMAGE)
    found, size = driver.get(glance_location(driver, location.url))
    assert (b"".join(found), size) == (data, len(data))
    driver.delete(glance_location(driver, location.url))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_what_glance_store_writes_is_read_and_deleted_here(store: RbdStore, view: PoolView, driver: Any) -> None:
    data = content(300_000)
    url, *_ = driver.add(IMAGE, io.BytesIO(data), len(data), "sha512")
    location = Location(url, "ceph")
    assert run(store.find(IMAGE)) == location
    assert run(store.stat(location)).size == len(data)
    assert read_all(store.open_reader(location)) == data
    run(store.delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_image_is_as_glance_store_makes_it(store: RbdStore, view: PoolView, driver: Any) -> None:
    run(put(store, IMAGE, b"ours"))
    driver.add(OTHER, io.BytesIO(b"theirs"), 6, "sha512")
    facts = []
    for name in (IMAGE, OTHER):
        with view.image(name) as image:
            facts.append((image.features(), image.stat()["order"], image.old_format(), view.snapshots(name)))
    assert facts[0] == facts[1]
    assert facts[0][1:] == (23, False, {"snap": True})


def test_object_size_is_kept(view: PoolView) -> None:
    store = view.store(object_size=1 << 16)
    run(put(store, IMAGE, content(300_000)))
    run(store.close())
    with view.image(IMAGE) as image:
        assert image.stat()["order"] == 16


@pytest.mark.parametrize("hint", [None, 1, 20 * MIB])
def test_image_has_its_size_whatever_was_expected(store: RbdStore, view: PoolView, hint: int | None) -> None:
    """It grows as need be: over its first growth of 16 MiB, and over the second."""
    data = content(17 * MIB + 1)

    async def scenario() -> Location:
        writer = await store.open_writer(IMAGE, hint)
        for at in range(0, len(data), 3 * MIB):
            writer.write(memoryview(data)[at : at + 3 * MIB])
        await writer.flush(len(data))
        return await writer.commit(len(data), {})

    location = run(scenario())
    assert run(store.stat(location)).size == len(data)
    assert read_all(store.open_reader(location)) == data
    with view.image(IMAGE, "snap") as image:
        assert image.size() == len(data)


@pytest.mark.parametrize("fill", [write_all, drain_all])
@pytest.mark.parametrize(("thin", "always_thin"), [(False, False), (True, False), (False, True)])
def test_zeros_are_left_out_when_thin(view: PoolView, thin: bool, always_thin: bool, fill: Any) -> None:
    data = bytes(2 * MIB + 200_000) + b"end"  # so that no piece with bytes in it begins in another object
    store = view.store(thin=always_thin, object_size=MIB)

    async def scenario() -> Location:
        writer = await store.open_writer(IMAGE, len(data), thin=thin)
        fill(writer, data)
        await writer.flush(len(data))
        return await writer.commit(len(data), {})

    assert read_all(store.open_reader(run(scenario()))) == data
    internal = view.names()[IMAGE]
    written = [key for key in view.objects() if key.startswith(f"rbd_data.{internal}.")]
    assert len(written) == (1 if thin or always_thin else 3)
    run(store.close())


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("z", []),
        ("d", [(0, 1)]),
        ("zd", [(1, 1)]),
        ("dz", [(0, 1)]),
        ("ddzzdzd", [(0, 2), (4, 1), (6, 1)]),
    ],
)
@pytest.mark.parametrize("rest", [b"", bytes(5), b"\0\0x"])
def test_data_runs(runs: str, rest: bytes, expected: list[tuple[int, int]]) -> None:
    whole = b"".join(bytes(BLOCK) if each == "z" else bytes(BLOCK - 1) + b"d" for each in runs) + rest
    found = list(data_runs(whole))
    filled = bytearray(len(whole))
    for at, data in found:
        filled[at : at + len(data)] = data
    assert filled == whole
    if not rest.strip(b"\0"):
        assert [(at // BLOCK, len(data) // BLOCK) for at, data in found] == expected


def test_image_without_its_snapshot_is_there_and_not_complete(store: RbdStore, view: PoolView) -> None:
    """As while another program imports it."""
    view.make(IMAGE, b"not yet", snapshot=False)
    location = Location(view.url(IMAGE), "ceph")
    assert run(store.find(IMAGE)) == location
    assert run(store.stat(location)).size == 7
    with pytest.raises(NotFound):
        read_all(store.open_reader(location))
    assert run(store.strays()) == []
    run(store.delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_reading_goes_on_of_the_same_image_only(store: RbdStore, view: PoolView) -> None:
    location = run(put(store, IMAGE, b"first"))
    source = store.open_reader(location)
    source.open()
    source.close()
    source.reopen(2)
    buffer = bytearray(10)
    assert (source.readinto(memoryview(buffer)), buffer[:3]) == (3, b"rst")
    source.close()
    run(store.delete(location))
    run(put(store, IMAGE, b"other"))
    with pytest.raises(Exception, match="another image"):
        source.reopen(2)
    source.close()


@pytest.mark.parametrize(
    "options",
    [
        {"writes_in_flight": 0},
        {"op_timeout": 0},
        {"pool": ""},
        {"user": ""},
        {"password": "x"},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    class Settings:
        type = "rbd"
        read_only = False

        def __init__(self) -> None:
            self.options = options

    with pytest.raises(InvalidRequest):
        build("ceph", Settings())


def test_another_cluster_is_refused(view: PoolView) -> None:
    store = view.store(fsid="00000000-1111-2222-3333-444444444444")
    with pytest.raises(StoreError, match=view.cluster.fsid):
        run(store.open())
    assert not store.owns(view.url(IMAGE))
