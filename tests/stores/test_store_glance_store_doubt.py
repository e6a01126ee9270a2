"""What is there after a driver's ``add`` has failed: removed if it is a part of this image, else left alone and told."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.loop import run
from faults.source import FaultySource
from glance_store_drivers import Wayward, install_wayward, wayward_store
from subject import IMAGE, content, put, write_all

from glance_stream.errors import Duplicate, ImportFailed, StoreError
from glance_stream.stores.base import Writer
from glance_stream.stores.glance_store import GlanceStoreStore
from glance_stream.stores.glance_store.places import ANY_OTHER, Partial, Place
from glance_stream.transfer import TransferRequest, transfer

DATA = content(12_345)
OTHERS = content(12_345, seed=2)


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_wayward(tmp_path / "site", monkeypatch)


def placed(partial: Partial, *does: str) -> tuple[GlanceStoreStore, Wayward]:
    """As if the driver were known to leave that."""
    store, driver = wayward_store(*does)
    store._backend.place = Place(ANY_OTHER.urls, partial)
    return store, driver


async def written(store: GlanceStoreStore) -> Writer:
    writer = await store.open_writer(IMAGE, len(DATA))
    write_all(writer, DATA)
    await writer.flush(len(DATA))
    return writer


async def failed_commit(store: GlanceStoreStore) -> Writer:
    writer = await written(store)
    with pytest.raises(StoreError):
        await writer.commit(len(DATA), {})
    return writer


@pytest.mark.parametrize("partial", Partial)
def test_an_object_after_a_failed_commit_is_told_and_stays(partial: Partial) -> None:
    """The driver may have made it, or another Glance."""
    store, driver = placed(partial, "fails at the end", "leaves parts")

    async def scenario() -> None:
        writer = await failed_commit(store)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"wayward://box/{IMAGE} is there, .*by hand"):
                await writer.abort()
            with pytest.raises(StoreError):
                await writer.published()
        assert driver.objects == {IMAGE: DATA}
        assert await store.find(IMAGE) is not None
        with pytest.raises(Duplicate):
            await store.open_writer(IMAGE, 3)
        driver.objects.clear()
        await writer.abort()
        assert await writer.published() is None
        driver.does.clear()
        location = await put(store, IMAGE, OTHERS)
        await writer.abort()
        assert (await store.stat(location)).size == len(OTHERS)

    run(scenario())


@pytest.mark.parametrize("leaves", [True, False])
def test_a_transfer_tells_what_may_be_anothers(leaves: bool) -> None:
    store, driver = wayward_store("fails at the end", *(["leaves parts"] if leaves else []))
    with pytest.raises(ImportFailed) as caught:
        run(transfer(TransferRequest(IMAGE, FaultySource(DATA), (store,))))
    assert driver.objects == ({IMAGE: DATA} if leaves else {})
    assert [left.store_id for left in caught.value.leftovers] == (["gs"] if leaves else [])


def test_where_names_can_not_be_foretold_a_failed_commit_is_told() -> None:
    store, _ = wayward_store("fails at the end", wayward_prefix="")

    async def scenario() -> None:
        writer = await failed_commit(store)
        with pytest.raises(StoreError, match=f"look by hand for .*{IMAGE}"):
            await writer.abort()

    run(scenario())


@pytest.mark.parametrize("partial", Partial)
def test_more_than_the_driver_has_read_is_anothers(partial: Partial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last byte is held back until the commit, so that a whole image can't be of a writer that has not committed."""
    store, driver = placed(partial)
    remove_part = store._backend.remove_part

    def another_is_quicker(image_id: str, largest: int) -> None:
        driver.objects[IMAGE] = OTHERS
        remove_part(image_id, largest)

    monkeypatch.setattr(store._backend, "remove_part", another_is_quicker)

    async def scenario() -> None:
        writer = await written(store)
        if partial is Partial.ALIKE:
            with pytest.raises(StoreError, match="by hand"):
                await writer.abort()
        else:  # seen is only what is complete
            await writer.abort()
        assert driver.objects == {IMAGE: OTHERS}

    run(scenario())


def test_a_part_is_removed() -> None:
    store, driver = wayward_store("leaves parts")

    async def scenario() -> None:
        writer = await written(store)
        await writer.abort()
        assert driver.objects == {}
        assert await writer.published() is None

    run(scenario())


def test_what_a_commit_returned_is_published_and_stays() -> None:
    store, driver = wayward_store()

    async def scenario() -> None:
        writer = await written(store)
        location = await writer.commit(len(DATA), {})
        await writer.abort()
        assert await writer.published() == location
        assert driver.objects == {IMAGE: DATA}
        with pytest.raises(StoreError):
            await store.published(writer.trace)

    run(scenario())
