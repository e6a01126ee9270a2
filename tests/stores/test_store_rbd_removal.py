"""Removing images of the RBD store: what is in use stays as it was, and what was cut short is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.loop import run
from rbd_pool_view import PoolView, encoded
from subject import IMAGE, content, put, read_all, write_all

from glance_stream.errors import Duplicate, ObjectBusy, StoreError
from glance_stream.model import Location
from glance_stream.stores.rbd import RbdStore
from glance_stream.stores.rbd import store as store_module

DATA = content(50_000)
TEMPORARY = f".{IMAGE}.0123456789abcdef.part"


@pytest.fixture
def store(view: PoolView) -> Iterator[RbdStore]:
    store = view.store()
    yield store
    run(store.close())


# -- deleting -------------------------------------------------------------------------------------------------------------


def assert_refused(store: RbdStore, view: PoolView, location: Location, snapshots: dict[str, bool]) -> None:
    with pytest.raises(ObjectBusy):
        run(store.delete(location))
    assert view.snapshots(IMAGE) == snapshots
    assert read_all(store.open_reader(location)) == DATA


@pytest.mark.parametrize("clone_format", [1, 2])
def test_an_image_with_clones_is_busy(store: RbdStore, view: PoolView, clone_format: int) -> None:
    location = run(put(store, IMAGE, DATA))
    view.cluster.rbd("clone", "--rbd-default-clone-format", str(clone_format), f"{view.pool}/{IMAGE}@snap", f"{view.pool}/volume")
    assert_refused(store, view, location, {"snap": True})
    view.cluster.rbd("rm", "--no-progress", f"{view.pool}/volume")
    run(store.delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_an_image_with_other_snapshots_is_busy(store: RbdStore, view: PoolView) -> None:
    location = run(put(store, IMAGE, DATA))
    with view.image(IMAGE) as image:
        image.create_snap("mine")
    assert_refused(store, view, location, {"snap": True, "mine": False})
    with view.image(IMAGE) as image:
        image.remove_snap("mine")
    run(store.delete(location))


def test_an_image_that_is_open_is_busy(store: RbdStore, view: PoolView) -> None:
    location = run(put(store, IMAGE, DATA))
    with view.image(IMAGE) as image:
        before = list(image.list_snaps())
        assert_refused(store, view, location, {"snap": True})
    with view.image(IMAGE) as image:
        assert list(image.list_snaps()) == before  # the very same, and not one that was made again
    run(store.delete(location))


def test_an_image_opened_in_mid_deletion_gets_its_snapshot_back(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = run(put(store, IMAGE, DATA))
    monkeypatch.setattr("glance_stream.stores.rbd.images.Images.await_unwatched", lambda *_, **__: None)
    with view.image(IMAGE):
        assert_refused(store, view, location, {"snap": True})


def test_an_image_that_is_being_read_may_be_deleted(store: RbdStore, view: PoolView) -> None:
    """Its reader has no watch; it finds out."""
    location = run(put(store, IMAGE, DATA))
    source = store.open_reader(location)
    source.open()
    run(store.delete(location))
    source.close()
    assert (view.visible(), view.leavings()) == (set(), [])


def unprotect(view: PoolView) -> None:
    with view.image(IMAGE) as image:
        image.unprotect_snap("snap")


def unsnap(view: PoolView) -> None:
    unprotect(view)
    with view.image(IMAGE) as image:
        image.remove_snap("snap")


def behead(view: PoolView) -> None:
    unsnap(view)
    internal = view.names()[IMAGE]
    for key in view.objects():
        if key.startswith((f"rbd_data.{internal}", f"rbd_header.{internal}", f"rbd_object_map.{internal}")):
            view.ioctx.remove_object(key)


def drop_id(view: PoolView) -> None:
    behead(view)
    view.ioctx.remove_object(f"rbd_id.{IMAGE}")


@pytest.mark.parametrize("got_as_far_as", [unprotect, unsnap, behead, drop_id])
def test_a_deletion_that_was_cut_short_is_finished(
    store: RbdStore, view: PoolView, got_as_far_as: Callable[[PoolView], None]
) -> None:
    location = run(put(store, IMAGE, DATA))
    got_as_far_as(view)
    run(store.delete(location))
    assert (view.visible(), view.leavings()) == (set(), [])
    assert read_all(store.open_reader(run(put(store, IMAGE, b"again")))) == b"again"


def test_what_is_left_of_a_foreign_creation_is_told_at_once(store: RbdStore, view: PoolView) -> None:
    view.ioctx.write_full(f"rbd_id.{IMAGE}", encoded("abc"))
    with pytest.raises(Duplicate):
        run(store.open_writer(IMAGE, 3))
    assert view.objects().count(f"rbd_id.{IMAGE}") == 1


# -- discarding -----------------------------------------------------------------------------------------------------------


def written(view: PoolView) -> str:
    """What a writer that flushed has left. Returns the internal id."""
    view.make(TEMPORARY, DATA)
    return view.names()[TEMPORARY]


def rename_first_step(view: PoolView) -> None:
    view.ioctx.write_full(f"rbd_id.{IMAGE}", encoded(written(view)))


def rename_second_step(view: PoolView) -> None:
    rename_first_step(view)
    view.ask_directory("dir_rename_image", TEMPORARY, IMAGE, view.names()[TEMPORARY])


def create_nothing(view: PoolView) -> None:
    view.ioctx.write_full(f"rbd_id.{TEMPORARY}", b"")


def create_first_step(view: PoolView) -> None:
    view.ioctx.write_full(f"rbd_id.{TEMPORARY}", encoded("abc"))


def create_second_step(view: PoolView) -> None:
    create_first_step(view)
    view.ask_directory("dir_add_image", TEMPORARY, "abc")


def remove_all_but_the_directory(view: PoolView) -> None:
    view.ask_directory("dir_add_image", TEMPORARY, "abc")


def remove_first_step(view: PoolView) -> None:
    """As librbd 16 and later: it moves the image to the trash, and lists it there no more."""
    internal = written(view)
    with view.image(TEMPORARY) as image:
        remove_all_snapshots(image)
    view.trash_as_removal(TEMPORARY, internal)


def remove_all_snapshots(image: Any) -> None:
    image.unprotect_snap("snap")
    image.remove_snap("snap")


STATES = [
    remove_first_step,
    create_nothing,
    create_first_step,
    create_second_step,
    written,
    rename_first_step,
    remove_all_but_the_directory,
]


def trace(view: PoolView) -> str:
    return f"rbd://{view.pool}/{TEMPORARY}"


@pytest.mark.parametrize("state", STATES)
def test_discard_removes_what_any_death_has_left(store: RbdStore, view: PoolView, state: Callable[[PoolView], Any]) -> None:
    state(view)
    assert view.leavings() != []
    for stray in run(store.strays()):
        assert (stray.trace, stray.image_id) == (trace(view), IMAGE)
    run(store.discard(trace(view)))
    assert (view.visible(), view.leavings()) == (set(), [])
    run(store.discard(trace(view)))
    assert read_all(store.open_reader(run(put(store, IMAGE, b"again")))) == b"again"


def test_discard_leaves_an_image_that_has_its_name(store: RbdStore, view: PoolView) -> None:
    """Although it can still be opened, and removed, by the temporary one."""
    rename_second_step(view)
    assert view.leavings() == [f"rbd_id.{TEMPORARY}"]
    assert run(store.strays()) == []
    run(store.discard(trace(view)))
    location = run(store.find(IMAGE))
    assert location is not None
    assert read_all(store.open_reader(location)) == DATA
    assert view.leavings() == []


@pytest.mark.parametrize("state", [rename_first_step, rename_second_step])
def test_an_image_with_two_names_is_deleted_by_both(store: RbdStore, view: PoolView, state: Callable[[PoolView], None]) -> None:
    state(view)
    location = run(store.find(IMAGE))
    assert location is not None
    run(store.delete(location))
    run(store.discard(trace(view)))
    assert (view.visible(), view.leavings()) == (set(), [])


def test_discard_leaves_anothers_image_of_that_name(store: RbdStore, view: PoolView) -> None:
    location = run(put(store, IMAGE, b"another's"))
    written(view)
    run(store.discard(trace(view)))
    assert read_all(store.open_reader(location)) == b"another's"
    assert view.leavings() == []


@pytest.mark.parametrize("state", [rename_first_step, rename_second_step])
def test_abort_after_a_commit_without_an_answer_leaves_nothing(
    store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch, state: Callable[[PoolView], None]
) -> None:
    def rename(self: Any, ioctx: Any, source: str, destination: str) -> None:
        internal = view.names()[source]
        view.ioctx.write_full(f"rbd_id.{destination}", encoded(internal))
        if state is rename_second_step:
            view.ask_directory("dir_rename_image", source, destination, internal)
        raise view.rbd.Timeout("no answer", 110)

    class Renaming(view.rbd.RBD):
        pass

    Renaming.rename = rename
    monkeypatch.setattr(view.rbd, "RBD", Renaming)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        with pytest.raises(StoreError):
            await writer.commit(3, {})
        await writer.abort()

    run(scenario())
    assert (view.visible(), view.leavings()) == (set(), [])


def test_what_a_live_writer_elsewhere_has_is_not_touched(store: RbdStore, view: PoolView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.2)
    elsewhere = view.store("elsewhere")

    async def scenario() -> Location:
        writer = await elsewhere.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        with pytest.raises(ObjectBusy) as refused:
            await store.discard(writer.trace)
        assert refused.value.retry_after is not None
        return await writer.commit(3, {})

    assert read_all(store.open_reader(run(scenario()))) == b"abc"
    run(elsewhere.close())


def test_a_long_trash_is_read_to_its_end(store: RbdStore, view: PoolView) -> None:
    """It is asked for in parts, of 64 entries."""
    for number in range(130):
        view.trash_entry(f".{IMAGE}.{number:016x}.part", f"id{number}")
    strays = run(store.strays())
    assert {stray.trace for stray in strays} == {f"rbd://{view.pool}/.{IMAGE}.{number:016x}.part" for number in range(130)}
    assert all(stray.age < 60 for stray in strays)
