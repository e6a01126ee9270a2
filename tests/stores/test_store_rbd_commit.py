"""Commits of the RBD store that end in doubt: what is this writer's goes, what another has put under the image's name stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.loop import run
from faults.source import FaultySource
from rbd_pool_view import PoolView
from subject import IMAGE, content, put, read_all, write_all

from glance_stream.errors import Duplicate, ImportFailed, ObjectBusy, StoreError
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.rbd import RbdStore
from glance_stream.stores.rbd import store as store_module
from glance_stream.stores.rbd.images import Images
from glance_stream.transfer import TransferRequest, transfer

DATA = content(50_000)
OTHERS = content(50_000, seed=2)


@pytest.fixture
def store(view: PoolView) -> Iterator[RbdStore]:
    store = view.store()
    yield store
    run(store.close())


def rename_as(view: PoolView, monkeypatch: pytest.MonkeyPatch, rename: Callable[[Callable[[], None]], None]) -> None:
    """Every rename is done by ``rename``, which is given librbd's."""

    class Renaming(view.rbd.RBD):  # type: ignore[misc, name-defined]
        pass

    real = view.rbd.RBD
    Renaming.rename = lambda _, *names: rename(lambda: real().rename(*names))
    monkeypatch.setattr(view.rbd, "RBD", Renaming)


async def flushed(store: RbdStore) -> Writer:
    writer = await store.open_writer(IMAGE, len(DATA))
    write_all(writer, DATA)
    await writer.flush(len(DATA))
    return writer


async def committed(store: RbdStore) -> str:
    """The writer's trace."""
    writer = await flushed(store)
    await writer.commit(len(DATA), {})
    return writer.trace


async def failed_commit(store: RbdStore, expected: type[StoreError] = StoreError) -> Writer:
    writer = await flushed(store)
    with pytest.raises(expected):
        await writer.commit(len(DATA), {})
    return writer


def assert_only_anothers(store: RbdStore, view: PoolView) -> None:
    assert (view.visible(), view.leavings()) == ({IMAGE}, [])
    assert read_all(store.open_reader(Location(view.url(IMAGE), "ceph"))) == OTHERS


# -- what a rename may do -------------------------------------------------------------------------------------------------


def taken_before(view: PoolView, rename: Callable[[], None]) -> None:
    view.make(IMAGE, OTHERS)
    rename()


def lost_before_and_taken(view: PoolView, rename: Callable[[], None]) -> None:
    view.make(IMAGE, OTHERS)
    raise view.rbd.Timeout("no answer", 110)


def lost_after_and_replaced(view: PoolView, rename: Callable[[], None]) -> None:
    rename()
    view.rbd.RBD.__base__().rename(view.ioctx, IMAGE, "elsewhere")
    view.make(IMAGE, OTHERS)
    raise view.rbd.Timeout("no answer", 110)


def lost_before(view: PoolView, rename: Callable[[], None]) -> None:
    raise view.rbd.Timeout("no answer", 110)


def lost_after(view: PoolView, rename: Callable[[], None]) -> None:
    rename()
    raise view.rbd.Timeout("no answer", 110)


@pytest.mark.parametrize("engine", [False, True])
@pytest.mark.parametrize("does", [taken_before, lost_before_and_taken])
def test_an_image_that_another_put_there_stays(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch, does: Callable[..., None], engine: bool
) -> None:
    """Of the very size, between the last look for it and the rename."""
    rename_as(view, monkeypatch, lambda rename: does(view, rename))

    async def scenario() -> None:
        if engine:
            with pytest.raises(ImportFailed) as caught:
                await transfer(TransferRequest(IMAGE, FaultySource(DATA), (store,)))
            assert caught.value.leftovers == ()
        else:
            writer = await failed_commit(store, Duplicate if does is taken_before else StoreError)
            await writer.abort()
            assert await store.published(writer.trace) is None

    run(scenario())
    assert_only_anothers(store, view)


@pytest.mark.parametrize("engine", [False, True])
@pytest.mark.parametrize("does", [lost_before, lost_after])
def test_nothing_is_left_of_a_rename_without_an_answer(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch, does: Callable[..., None], engine: bool
) -> None:
    rename_as(view, monkeypatch, lambda rename: does(view, rename))

    async def scenario() -> None:
        if engine:
            with pytest.raises(ImportFailed) as caught:
                await transfer(TransferRequest(IMAGE, FaultySource(DATA), (store,)))
            assert caught.value.leftovers == ()
        else:
            writer = await failed_commit(store)
            assert view.visible() == ({IMAGE} if does is lost_after else set())
            await writer.abort()
            await writer.abort()
            assert await store.published(writer.trace) is None

    run(scenario())
    assert (view.visible(), view.leavings()) == (set(), [])


def test_an_image_that_somebody_has_renamed_since_is_not_followed(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was visible, and somebody has made it theirs."""
    rename_as(view, monkeypatch, lambda rename: lost_after_and_replaced(view, rename))

    async def scenario() -> None:
        writer = await failed_commit(store)
        await writer.abort()
        assert await store.published(writer.trace) is None

    run(scenario())
    assert view.visible() == {IMAGE, "elsewhere"}
    assert read_all(store.open_reader(Location(view.url(IMAGE), "ceph"))) == OTHERS


@pytest.mark.parametrize("engine", [False, True])
def test_what_can_not_be_looked_at_is_in_doubt_and_found_later(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch, engine: bool
) -> None:
    rename_as(view, monkeypatch, lambda rename: lost_after(view, rename))
    elsewhere = view.store("later")

    def no_answer(*_: Any) -> None:
        raise view.rados.TimedOut("no answer", 110)

    async def scenario() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Images, "ids_by", no_answer)
            if engine:
                with pytest.raises(ImportFailed) as caught:
                    await transfer(TransferRequest(IMAGE, FaultySource(DATA), (store,)))
                (left,) = caught.value.leftovers
                assert "may have taken effect" in left.reason
                trace = left.trace
            else:
                writer = await failed_commit(store)
                with pytest.raises(StoreError):
                    await writer.abort()
                trace = writer.trace
        assert view.visible() == {IMAGE}
        found = await elsewhere.published(trace)
        assert found == Location(view.url(IMAGE), "later")
        await elsewhere.delete(found)
        await elsewhere.discard(trace)
        assert await elsewhere.published(trace) is None

    run(scenario())
    assert (view.visible(), view.leavings()) == (set(), [])
    run(elsewhere.close())


# -- who made an image ----------------------------------------------------------------------------------------------------


def test_an_image_tells_its_writer(store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.0)
    elsewhere = view.store("elsewhere")

    async def scenario() -> None:
        writer = await flushed(store)
        assert await store.published(writer.trace) is None
        with pytest.raises(ObjectBusy):  # it may yet commit
            await elsewhere.published(writer.trace)
        location = await writer.commit(len(DATA), {})
        for each in (store, elsewhere):
            assert await each.published(writer.trace) == Location(location.url, each.store_id)
            assert await each.published(store.writer(IMAGE).trace) is None
        await writer.abort()
        assert await store.stat(location)
        await store.delete(location)
        assert await elsewhere.published(writer.trace) is None

    run(scenario())
    with pytest.raises(StoreError):
        run(store.published("rbd://elsewhere/x"))
    run(elsewhere.close())


@pytest.mark.parametrize("copy", ["deep cp", "clone"])
def test_a_copy_is_not_the_writers_image(store: RbdStore, view: PoolView, copy: str) -> None:
    """librbd gives its metadata to a clone and to a deep copy."""

    trace = run(committed(store))
    view.cluster.rbd("rename", f"{view.pool}/{IMAGE}", f"{view.pool}/origin")
    source = f"{view.pool}/origin" + ("@snap" if copy == "clone" else "")
    view.cluster.rbd(*copy.split(), *(["--no-progress"] if copy != "clone" else []), source, f"{view.pool}/{IMAGE}")
    with view.image(IMAGE) as image:
        assert image.metadata_get("glance_stream.writer")
    assert run(store.published(trace)) is None
    assert run(store.find(IMAGE)) is not None


def drop_snapshot(view: PoolView) -> None:
    with view.image(IMAGE) as image:
        image.unprotect_snap("snap")
        image.remove_snap("snap")


def test_an_image_that_an_operator_has_put_into_the_trash_stays_there(store: RbdStore, view: PoolView) -> None:
    trace = run(committed(store))
    drop_snapshot(view)
    view.rbd.RBD().trash_move(view.ioctx, IMAGE, 0)
    assert run(store.published(trace)) is None


def test_a_removal_that_was_cut_short_in_the_trash_is_finished(store: RbdStore, view: PoolView) -> None:
    trace = run(committed(store))
    drop_snapshot(view)
    view.trash_as_removal(IMAGE, view.names()[IMAGE])
    found = run(store.published(trace))
    assert found is not None
    run(store.delete(found))
    assert (view.visible(), view.leavings()) == (set(), [])
    assert run(store.published(trace)) is None


def test_an_image_without_its_header_does_not_tell(store: RbdStore, view: PoolView) -> None:
    trace = run(committed(store))
    view.ioctx.remove_object(f"rbd_header.{view.names()[IMAGE]}")
    with pytest.raises(StoreError, match="does not tell"):
        run(store.published(trace))


# -- discarding while it commits ------------------------------------------------------------------------------------------


def test_a_writer_is_not_discarded_while_it_renames(store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch) -> None:
    """From elsewhere, at either end of the rename."""
    monkeypatch.setattr(store_module, "PATIENCE", 0.0)
    elsewhere = view.store("elsewhere")
    refused: list[str] = []
    traces: list[str] = []

    def discard() -> None:
        try:
            asyncio.run(elsewhere.discard(traces[0]))
        except ObjectBusy as error:
            refused.append(str(error))

    def rename(real: Callable[[], None]) -> None:
        for step in (discard, real, discard):
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()

    rename_as(view, monkeypatch, rename)

    async def scenario() -> Location:
        writer = await flushed(store)
        traces.append(writer.trace)
        return await writer.commit(len(DATA), {})

    location = run(scenario(), seconds=60)
    assert len(refused) == 1  # before it; after it there is nothing to discard
    assert read_all(store.open_reader(location)) == DATA
    assert view.leavings() == []
    run(elsewhere.close())


def test_a_commit_while_a_discard_waits_is_not_undone(store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = view.store("elsewhere")
    waiting, committed = threading.Event(), threading.Event()
    await_unwatched = Images.await_unwatched

    def wait(self: Images, name: str, patience: float) -> None:
        waiting.set()
        committed.wait(20)
        await_unwatched(self, name, patience)

    monkeypatch.setattr(Images, "await_unwatched", wait)

    async def scenario() -> Location:
        writer = await flushed(store)
        discarding = asyncio.ensure_future(elsewhere.discard(writer.trace))
        await asyncio.to_thread(waiting.wait, 20)
        location = await writer.commit(len(DATA), {})
        committed.set()
        await discarding
        return location

    assert read_all(store.open_reader(run(scenario(), seconds=60))) == DATA
    assert (view.visible(), view.leavings()) == ({IMAGE}, [])
    run(elsewhere.close())


# -- a cluster that only itself can name ----------------------------------------------------------------------------------


@pytest.fixture
def nameless(view: PoolView, tmp_path: Any) -> Iterator[Callable[[], RbdStore]]:
    """Makes stores, each new and not opened, whose configuration file does not have the cluster's fsid."""
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nmon host = {view.cluster.mon_host}\nkeyring = {view.cluster.keyring}\n")
    made: list[RbdStore] = []

    def make() -> RbdStore:
        made.append(view.store(ceph_conf=str(conf)))
        return made[-1]

    yield make
    for each in made:
        run(each.close())


def test_a_store_learns_its_cluster_by_asking_it(view: PoolView, nameless: Callable[[], RbdStore]) -> None:
    """Whatever is asked first: nobody need open the store before."""
    location = run(put(nameless(), IMAGE, DATA))
    assert location.url == view.url(IMAGE)
    assert run(nameless().find(IMAGE)) == location
    assert run(nameless().stat(location)).size == len(DATA)
    assert read_all(nameless().open_reader(location)) == DATA
    assert nameless().owns(location.url)
    run(nameless().delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_a_pool_of_the_same_name_in_another_cluster_is_not_touched(view: PoolView, nameless: Callable[[], RbdStore]) -> None:
    run(put(nameless(), IMAGE, DATA))
    other = Location(view.url(IMAGE).replace(view.cluster.fsid, "00000000-1111-2222-3333-444444444444"), "ceph")
    assert not nameless().owns(other.url)
    for refused in (nameless().stat(other), nameless().delete(other)):
        with pytest.raises(StoreError, match="not in"):
            run(refused)
    with pytest.raises(StoreError, match="another cluster"):
        nameless().open_reader(other).open()
    assert view.visible() == {IMAGE}
