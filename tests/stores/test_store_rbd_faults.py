"""What can happen to the RBD store: processes killed, osds that don't answer, pools deleted or full, keys refused."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faults.loop import run
from rbd_pool_view import PoolView, own_pool
from subject import IMAGE, content, put, read_all, write_all

from glance_stream.errors import GlanceStreamError, ObjectBusy, StoreDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.rbd import RbdStore

CHILD = Path(__file__).with_name("rbd_child.py")
MIB = 1 << 20


@pytest.fixture
def store(view: PoolView) -> Iterator[RbdStore]:
    store = view.store()
    yield store
    run(store.close())


# -- processes that are killed --------------------------------------------------------------------------------------------


@contextmanager
def child(view: PoolView, stage: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """And its trace, when it is ready."""
    options = json.dumps(msgspec.to_builtins(view.options(), enc_hook=int))
    with subprocess.Popen(
        [sys.executable, CHILD, options, IMAGE, stage], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            trace = process.stdout.readline().strip()
            assert process.stdout.readline() == "ready\n"
            yield process, trace
        finally:
            process.kill()


def evict(view: PoolView) -> None:
    """The clients that have a temporary image open: their watches would last for half a minute more."""
    for name in view.names():
        if name.startswith("."):
            with suppress(view.rbd.ImageNotFound), view.rbd.Image(view.ioctx, name, read_only=True) as image:
                for watcher in image.watchers_list():
                    view.cluster.ceph("osd", "blocklist", "add", watcher["addr"])


@pytest.mark.parametrize("stage", ["written", "flushed"])
def test_nothing_is_left_of_a_killed_writer(store: RbdStore, view: PoolView, stage: str) -> None:
    with child(view, stage) as (process, trace):
        process.kill()
        process.wait()
    assert [stray.trace for stray in run(store.strays())] == [trace]
    assert view.visible() == set()
    evict(view)
    run(store.discard(trace), seconds=60)
    assert (view.visible(), view.leavings()) == (set(), [])
    assert run(store.strays()) == []
    assert read_all(store.open_reader(run(put(store, IMAGE, b"again")))) == b"again"


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.01])
def test_a_commit_that_is_killed_is_whole_or_leaves_nothing(store: RbdStore, view: PoolView, delay: float) -> None:
    with child(view, "flushed") as (process, trace):
        assert process.stdin is not None
        process.stdin.write("commit\n")
        process.stdin.flush()
        time.sleep(delay)
        process.kill()
        process.wait()
    evict(view)
    run(store.discard(trace), seconds=60)
    assert view.leavings() == []
    location = run(store.find(IMAGE))
    assert view.visible() == (set() if location is None else {IMAGE})
    if location is not None:
        assert read_all(store.open_reader(location)) == b"x" * (3 * MIB)
        run(delete_when_unwatched(store, location), seconds=60)
    assert (view.visible(), view.leavings()) == (set(), [])


async def delete_when_unwatched(store: RbdStore, location: Location) -> None:
    """The killed client's watch on the committed image, which `evict` does not look for, ends by itself after half a minute."""
    while True:
        try:
            return await store.delete(location)
        except ObjectBusy:
            await asyncio.sleep(0.5)


async def write_and_flush(writer: Writer) -> None:
    """A write that fails may tell so only in the flush."""
    writer.write(memoryview(b"abc"))
    await writer.flush(3)


# -- a cluster that does not answer ---------------------------------------------------------------------------------------


def test_an_osd_that_hangs_is_a_timeout_and_leaves_nothing_later(view: PoolView) -> None:
    store = view.store(op_timeout=1, writes_in_flight=2)

    async def scenario() -> str:
        location = await put(store, f"{IMAGE}-2", b"there")
        source = store.open_reader(location)
        source.open()
        writer = await store.open_writer(IMAGE, None)
        write_all(writer, b"abc")
        await writer.flush(3)  # answered
        other = await store.open_writer(IMAGE, 100 * MIB)
        with view.cluster.daemons["osd"].paused():
            with pytest.raises(StoreTimeout):
                write_all(other, bytes(MIB))
            with pytest.raises(StoreTimeout):
                await writer.commit(3, {})
            with pytest.raises(StoreTimeout):
                source.readinto(memoryview(bytearray(5)))
            source.close()
            for each in (store.find(IMAGE), store.delete(location), writer.abort(), other.abort()):
                with pytest.raises(StoreTimeout):
                    await each
        await writer.abort()
        await other.abort()
        source.reopen(2)
        buffer = bytearray(5)
        assert (source.readinto(memoryview(buffer)), buffer) == (3, b"ere\0\0")
        source.close()
        await store.delete(location)
        return other.trace

    run(scenario(), seconds=60)
    assert (view.visible(), view.leavings()) == (set(), [])
    run(store.close())


def test_interrupt_ends_a_read_that_hangs(view: PoolView) -> None:
    store = view.store(op_timeout=2)
    location = run(put(store, IMAGE, b"there"))
    source = store.open_reader(location)
    source.open()
    with view.cluster.daemons["osd"].paused():
        source.interrupt()
        with pytest.raises(GlanceStreamError, match="interrupted"):
            source.readinto(memoryview(bytearray(5)))
        source.close()
    run(store.close())


def test_no_monitor_is_a_timeout(view: PoolView, tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nmon host = v1:127.0.0.1:1\nkeyring = {view.cluster.keyring}\n")
    store = view.store(ceph_conf=str(conf), connect_timeout=1, op_timeout=1)
    with pytest.raises(StoreTimeout):
        run(store.open())
    assert not store.owns(view.url(IMAGE))  # it does not know its cluster
    with pytest.raises(StoreTimeout):
        run(store.stat(Location(view.url(IMAGE), "ceph")))


def test_a_client_that_was_shut_out_connects_again(store: RbdStore, view: PoolView) -> None:
    async def scenario() -> Writer:
        writer = await store.open_writer(IMAGE, 3)
        evict(view)
        with pytest.raises(StoreError):
            await write_and_flush(writer)
        return writer

    writer = run(scenario())
    with suppress(StoreError):
        run(writer.abort())
    run(store.discard(writer.trace), seconds=60)
    assert (view.visible(), view.leavings()) == (set(), [])
    assert read_all(store.open_reader(run(put(store, IMAGE, b"again")))) == b"again"


# -- refusals -------------------------------------------------------------------------------------------------------------


async def found_until_it_fails(store: RbdStore) -> None:
    """An osd learns only after a moment that its pool is gone."""
    for _ in range(100):
        assert await store.find(IMAGE) is not None
        await asyncio.sleep(0.05)


def test_a_deleted_pool_does_not_mean_that_its_images_are_gone(view: PoolView) -> None:
    with own_pool(view.cluster, f"test-{secrets.token_hex(6)}") as passing:
        store = passing.store()
        location = run(put(store, IMAGE, b"there"))

        async def scenario() -> None:
            writer = await store.open_writer(f"{IMAGE}-2", 3)
            passing.cluster.delete_pool(passing.pool)
            with pytest.raises(StoreUnavailable):
                await found_until_it_fails(store)
            unavailable: list[Awaitable[Any]] = [store.stat(location), store.delete(location), store.strays()]
            for each in (*unavailable, store.open_writer("x", 3)):
                with pytest.raises(StoreUnavailable):
                    await each
            with pytest.raises(StoreUnavailable):
                store.open_reader(location).open()
            with pytest.raises(StoreError):
                await write_and_flush(writer)
            with suppress(StoreUnavailable):
                await writer.abort()

        run(scenario())
        run(store.close())
        passing.cluster.make_pool(passing.pool)  # for the context to delete


def test_a_pool_that_was_never_there(view: PoolView) -> None:
    store = view.store(pool="elsewhere")
    with pytest.raises(StoreUnavailable, match="no pool elsewhere"):
        run(store.open())
    run(store.close())


def test_a_user_who_may_only_read(view: PoolView) -> None:
    store = view.store(user="reader")

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        with pytest.raises(StoreDenied):
            await writer.open(3)
        await writer.abort()

    run(scenario())
    view.make(IMAGE, b"stays")
    with pytest.raises(StoreDenied):
        run(store.delete(Location(view.url(IMAGE), "ceph")))
    assert view.snapshots(IMAGE) == {"snap": True}
    run(store.close())


@pytest.mark.parametrize("user", ["nobody", "glance"])
def test_a_user_without_a_key_or_with_a_wrong_one(view: PoolView, tmp_path: Path, user: str) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text("[client.glance]\nkey = AQBE8gJrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n")
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nfsid = {view.cluster.fsid}\nmon host = {view.cluster.mon_host}\nkeyring = {keyring}\n")
    store = view.store(user=user, ceph_conf=str(conf), connect_timeout=5)
    with pytest.raises(StoreDenied, match=f"client.{user}") as refused:
        run(store.open())
    assert "AQBE" not in str(refused.value)


def test_no_configuration_file(view: PoolView, tmp_path: Path) -> None:
    store = view.store(ceph_conf=str(tmp_path / "ceph.conf"))
    with pytest.raises(StoreUnavailable, match=r"ceph\.conf"):
        run(store.open())
    assert not store.owns(view.url(IMAGE))


def test_a_pool_over_its_quota_is_full_at_once(view: PoolView) -> None:
    with own_pool(view.cluster, f"test-{secrets.token_hex(6)}") as small:
        store = small.store()
        data = content(4 * MIB)

        async def scenario() -> None:
            location = await put(store, f"{IMAGE}-2", data)
            writer = await store.open_writer(IMAGE, None)
            writer.write(memoryview(data))
            small.cluster.set_quota(small.pool, MIB)
            small.cluster.wait_full(small.pool)
            assert await store.free_space() == 0
            with pytest.raises(StoreFull):
                await write_and_flush(writer)
            await writer.abort()
            assert small.leavings() == []
            with pytest.raises(StoreFull):
                await store.open_writer(IMAGE, 3)
            assert small.leavings() == []
            assert read_all(store.open_reader(location)) == data
            await store.delete(location)

        run(scenario(), seconds=60)
        assert (small.visible(), small.leavings()) == (set(), [])
        run(store.close())
