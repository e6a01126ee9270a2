"""Deleting from one store and altogether (AC28-AC31)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from importing_words import FaultyStore, House, assert_holds, assert_settled, content, file_stores, run
from sqlalchemy import update

from glance_stream.catalogue import Deletion
from glance_stream.catalogue.tables import image_locations
from glance_stream.errors import (
    EXIT_FAILED,
    CatalogueError,
    ImageNotFound,
    InvalidRequest,
    ObjectBusy,
    StoreDenied,
    StoreError,
    StoreReadOnly,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.importing import copy_image, delete_from_store, delete_image
from glance_stream.model import Location
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore

DATA = content()
OpenSite = Callable[..., House]


def test_deleting_from_one_store(house: House) -> None:
    image_id = house.active(DATA, "a", "b", "c").image_id
    outcome = run(delete_from_store(house.site, image_id, "b"))
    assert outcome.notes == ()
    assert outcome.image == house.image(image_id)
    assert_holds(house, image_id, DATA, "a", "c")
    assert_settled(house, image_id, "abc")


def test_ac28_the_data_is_gone_already(house: House) -> None:
    """AC28: the location goes, a note tells it apart, the other copy is intact."""
    image_id = house.active(DATA, "a", "b").image_id
    (house.directory("a") / image_id).unlink()
    outcome = run(delete_from_store(house.site, image_id, "a"))
    assert outcome.notes == ("a: already gone",)
    assert_holds(house, image_id, DATA, "b")
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("store_id", ["a", "b"])
@pytest.mark.parametrize("forget", [True, False])
def test_ac29_the_last_copy_is_kept(house: House, store_id: str, forget: bool) -> None:
    """AC29: asked before whether it is in that store at all, as Glance does."""
    before = house.active(DATA, "a")
    with pytest.raises(InvalidRequest, match="Cannot delete image data from the only store containing it"):
        run(delete_from_store(house.site, before.image_id, store_id, forget=forget))
    assert house.image(before.image_id) == before
    assert_holds(house, before.image_id, DATA, "a")
    assert_settled(house, before.image_id, "a")


def test_ac30_a_busy_object_is_kept(open_site: OpenSite, tmp_path: Path) -> None:
    """AC30."""
    memory = MemoryStore("m")
    house = open_site({"m": memory, **file_stores(tmp_path, "a")})
    before = house.active(DATA, "m", "a")
    memory.busy.add(before.image_id)
    for operation in (delete_from_store(house.site, before.image_id, "m"), delete_image(house.site, before.image_id)):
        with pytest.raises(ObjectBusy):
            run(operation)
        assert memory.objects[before.image_id] == DATA
        assert house.object("a", before.image_id) == DATA
        assert house.image(before.image_id) == before
        assert_settled(house, before.image_id, "ma")
    memory.busy.clear()
    run(delete_from_store(house.site, before.image_id, "m"))
    assert_holds(house, before.image_id, DATA, "a")


def frozen(house: House, store_id: str) -> None:
    """From now on the store can't delete."""
    store = FileStore(store_id, house.directory(store_id), read_only=True)
    house.site.stores._built[store_id] = store


def test_ac31_a_store_that_can_not_delete(house: House) -> None:
    """AC31: refused; with forget the location alone goes."""
    before = house.active(DATA, "a", "b")
    frozen(house, "b")
    with pytest.raises(StoreReadOnly, match="forget"):
        run(delete_from_store(house.site, before.image_id, "b"))
    assert house.image(before.image_id) == before
    assert_settled(house, before.image_id, "ab")
    outcome = run(delete_from_store(house.site, before.image_id, "b", forget=True))
    assert outcome.notes == ("b: forgotten, the data is still in the store",)
    assert outcome.image.stores == ("a",)
    assert house.object("b", before.image_id) == house.object("a", before.image_id) == DATA
    assert_settled(house, before.image_id, "ab")


@pytest.mark.parametrize("store_id", ["nowhere", "c", ""])
def test_a_store_without_the_image_is_refused(house: House, store_id: str) -> None:
    before = house.active(DATA, "a", "b")
    with pytest.raises(InvalidRequest, match=r"there is no store|is not in store"):
        run(delete_from_store(house.site, before.image_id, store_id))
    assert house.image(before.image_id) == before
    assert_holds(house, before.image_id, DATA, "a", "b")


def test_a_queued_image_is_not_deleted_from_a_store(house: House) -> None:
    before = house.queued()
    with pytest.raises(InvalidRequest, match="only an active image"):
        run(delete_from_store(house.site, before.image_id, "a"))
    assert house.image(before.image_id) == before


@pytest.mark.parametrize("stores", [["a"], ["a", "b"], ["c", "a", "b"]])
def test_deleting_altogether(house: House, stores: list[str]) -> None:
    other = house.active(content(seed=2), "a", "b")
    image_id = house.active(DATA, *stores).image_id
    (house.directory(stores[0]) / image_id).unlink()
    outcome = run(delete_image(house.site, image_id))
    assert outcome.notes == (f"{stores[0]}: already gone",)
    with pytest.raises(ImageNotFound):
        house.image(image_id)
    assert_holds(house, other.image_id, content(seed=2), "a", "b")
    assert house.catalogue.holder(image_id) is None


def test_deleting_an_image_without_data(house: House) -> None:
    run(delete_image(house.site, house.queued().image_id))
    assert house.catalogue.list_images() == []


@pytest.mark.parametrize("refusing", ["a", "b", "c"])
def test_a_store_that_refuses_keeps_the_image_with_what_is_left(open_site: OpenSite, tmp_path: Path, refusing: str) -> None:
    """Every location that is recorded has its data, and nothing else has; a second attempt ends it."""
    denied = {"delete": StoreDenied(refusing, "permission denied")}
    house = open_site(file_stores(tmp_path, **{name: denied if name == refusing else {} for name in "abc"}))
    image_id = house.active(DATA, "a", "b", "c").image_id
    with pytest.raises(StoreDenied):
        run(delete_image(house.site, image_id))
    left = house.image(image_id).stores
    assert refusing in left
    assert_holds(house, image_id, DATA, *left)
    assert_settled(house, image_id, "abc")
    store = house.store(refusing)
    assert isinstance(store, FaultyStore)
    store.faults.clear()
    run(delete_image(house.site, image_id))
    assert (house.files(), house.catalogue.list_images()) == ([], [])


def test_deleting_altogether_with_a_store_that_can_not_delete(house: House) -> None:
    before = house.active(DATA, "a", "b")
    frozen(house, "b")
    with pytest.raises(StoreReadOnly, match="forget"):
        run(delete_image(house.site, before.image_id))
    assert house.image(before.image_id) == before
    assert_holds(house, before.image_id, DATA, "a", "b")
    outcome = run(delete_image(house.site, before.image_id, forget=True))
    assert outcome.notes == ("b: forgotten, the data is still in the store",)
    assert house.catalogue.list_images() == []
    assert house.files() == [f"b/{before.image_id}"]


def test_a_store_that_hangs_on_deletion_is_not_waited_for_for_ever(open_site: OpenSite) -> None:
    class Hung(MemoryStore):
        async def delete(self, location: object) -> None:
            await asyncio.sleep(3600)

    house = open_site({"m": MemoryStore("m"), "h": Hung("h")})
    before = house.active(DATA, "m", "h")
    house.site = replace(house.site, limits=replace(house.site.limits, store_timeout=0.2))
    with pytest.raises(StoreTimeout, match="delet"):
        run(delete_from_store(house.site, before.image_id, "h"))
    assert house.image(before.image_id) == before
    with pytest.raises(StoreTimeout, match="delet"):
        run(delete_image(house.site, before.image_id))
    assert house.image(before.image_id).stores == ("h",)
    assert_settled(house, before.image_id, "mh")


# -- copies that are recorded and not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [None, b"cut short"])
@pytest.mark.parametrize("forget", [True, False])
def test_the_last_good_copy_is_kept_though_another_is_recorded(house: House, left: bytes | None, forget: bool) -> None:
    before = house.active(DATA, "a", "b")
    copy = house.directory("a") / before.image_id
    copy.unlink() if left is None else copy.write_bytes(left)
    with pytest.raises(InvalidRequest, match="may be the last good one"):
        run(delete_from_store(house.site, before.image_id, "b", forget=forget))
    assert house.image(before.image_id) == before
    assert house.object("b", before.image_id) == DATA
    assert_settled(house, before.image_id, "ab")


def test_one_good_copy_beside_is_enough(house: House) -> None:
    image_id = house.active(DATA, "a", "b", "c").image_id
    (house.directory("a") / image_id).unlink()
    run(delete_from_store(house.site, image_id, "b"))
    assert house.image(image_id).stores == ("a", "c")
    assert house.object("c", image_id) == DATA


@pytest.mark.parametrize("error", [StoreDenied("a", "permission denied"), RuntimeError("a driver's bug")])
def test_a_copy_that_can_not_be_asked_for_is_no_copy_to_rely_on(open_site: OpenSite, tmp_path: Path, error: Exception) -> None:
    house = open_site(file_stores(tmp_path, "b", a={"stat": error}))
    before = house.active(DATA, "a", "b")
    with pytest.raises(StoreUnavailable, match="may be the last good one") as caught:
        run(delete_from_store(house.site, before.image_id, "b"))
    assert caught.value.exit_code == EXIT_FAILED
    assert house.image(before.image_id) == before
    assert_holds(house, before.image_id, DATA, "a", "b")
    assert_settled(house, before.image_id, "ab")


# -- deletions that do not end as they should -------------------------------------------------------------------------------------


def in_turn(house: House, *stores: str) -> str:
    """An image whose locations stand in this order."""
    image_id = house.active(DATA, stores[0]).image_id
    for store_id in stores[1:]:
        run(copy_image(house.site, image_id, stores=[store_id]))
    return image_id


class AfterDeletion(FaultyStore):
    """Deletes, and then: ``after`` is called before it returns."""

    def __init__(self, store_id: str, path: Path, after: Callable[[], Awaitable[None]]) -> None:
        super().__init__(store_id, path)
        self.after = after

    async def delete(self, location: Location) -> None:
        await super().delete(location)
        await self.after()


async def fail() -> None:
    raise StoreUnavailable("b", "the connection was lost")


async def hang() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize(("after", "reason"), [(fail, "the connection was lost"), (hang, "not ended within 0.2 s")])
def test_a_deletion_that_took_effect_is_recorded_whatever_the_store_says(
    open_site: OpenSite, tmp_path: Path, after: Callable[[], Awaitable[None]], reason: str
) -> None:
    house = open_site(file_stores(tmp_path, "a") | {"b": AfterDeletion("b", tmp_path / "stores" / "b", after)})
    image_id = house.active(DATA, "a", "b").image_id
    house.site = replace(house.site, limits=replace(house.site.limits, store_timeout=0.2))
    outcome = run(delete_from_store(house.site, image_id, "b"))
    assert [reason in note for note in outcome.notes] == [True]
    assert_holds(house, image_id, DATA, "a")
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("whole", [True, False])
def test_a_cancelled_deletion_is_recorded(open_site: OpenSite, tmp_path: Path, whole: bool) -> None:
    """A location without its data, beside one with it, would make that look like one copy of two."""
    deleted = asyncio.Event()

    async def slow() -> None:
        deleted.set()
        await asyncio.sleep(0.1)

    async def cancelled() -> None:
        work = delete_image(house.site, image_id) if whole else delete_from_store(house.site, image_id, "b")
        task = asyncio.ensure_future(work)
        await deleted.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == whole

    house = open_site({"b": AfterDeletion("b", tmp_path / "stores" / "b", slow), **file_stores(tmp_path, "a")})
    image_id = in_turn(house, "b", "a")
    run(cancelled())
    assert_holds(house, image_id, DATA, "a")
    assert_settled(house, image_id, "ab")


def test_a_deletion_that_can_not_be_recorded_stays_locked_for_recover(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise CatalogueError("the database is away")

    image_id = house.active(DATA, "a", "b").image_id
    location = next(one for one in house.image(image_id).locations if one.store_id == "b")
    monkeypatch.setattr(house.catalogue, "remove_location", away)
    with pytest.raises(CatalogueError, match="database is away"):
        run(delete_from_store(house.site, image_id, "b"))
    assert house.object("b", image_id) is None
    assert [one.deletion for one in house.catalogue.interrupted()] == [Deletion((location,), whole_image=False)]


# -- stores that can't delete are told of before anything is deleted --------------------------------------------------------------


def lost(house: House, store_id: str) -> None:
    """From now on the site has no such store, and no other has its images."""
    del house.site.stores._built[store_id]


def nameless(house: House, image_id: str, store_id: str) -> None:
    """A location from before stores had ids, whose store is not known any more."""
    with house.catalogue._database.write() as connection:
        changed = update(image_locations).where(image_locations.c.image_id == image_id, image_locations.c.store_id == store_id)
        connection.execute(changed.values(store_id=""))
    lost(house, store_id)


@pytest.mark.parametrize("gone", ["a", "b", "c"])
@pytest.mark.parametrize("named", [True, False])
def test_deleting_altogether_with_a_store_that_the_site_does_not_have(house: House, gone: str, named: bool) -> None:
    image_id = house.active(DATA, "a", "b", "c").image_id
    url = next(one.url for one in house.image(image_id).locations if one.store_id == gone)
    directory = house.directory(gone)
    lost(house, gone) if named else nameless(house, image_id, gone)
    before = house.image(image_id)
    with pytest.raises(InvalidRequest, match="--forget"):
        run(delete_image(house.site, image_id))
    assert house.image(image_id) == before
    assert len(house.files()) == 2
    assert house.catalogue.holder(image_id) is None
    outcome = run(delete_image(house.site, image_id, forget=True))
    assert outcome.notes == (f"{gone if named else url}: forgotten, the data is still there: this site has no such store",)
    assert (house.files(), house.catalogue.list_images()) == ([], [])
    assert (directory / image_id).read_bytes() == DATA


@pytest.mark.parametrize("error", [StoreReadOnly("b", "the file system is read-only"), ObjectBusy("b", "it has clones")])
def test_an_error_after_the_first_removal_is_no_bad_request(open_site: OpenSite, tmp_path: Path, error: StoreError) -> None:
    """And tells what is gone and what is left."""
    house = open_site(file_stores(tmp_path, "a", "c", b={"delete": error}))
    image_id = in_turn(house, "a", "b", "c")
    with pytest.raises(StoreError, match=r"removed from 'a'; still recorded in 'b', 'c'") as caught:
        run(delete_image(house.site, image_id))
    assert (caught.value.exit_code, caught.value.retryable) == (EXIT_FAILED, error.retryable)
    assert not isinstance(caught.value, StoreReadOnly)
    assert_holds(house, image_id, DATA, "b", "c")
    assert_settled(house, image_id, "abc")
