"""Cancellation and failures of the catalogue, at every moment of an operation: the image is as before, or the operation is done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from importing_words import (
    HeldSource,
    House,
    assert_holds,
    assert_settled,
    content,
    file_stores,
    run,
    state,
    until,
)

from glance_stream.catalogue import Operation, Task
from glance_stream.errors import CatalogueError, GlanceStreamError, ImportFailed, StoreFull
from glance_stream.importing import ImportRequest, copy_image, delete_from_store, delete_image, import_image
from glance_stream.model import Status

DATA = content()
OpenSite = Callable[..., House]
WRITES = ["acquire", "begin", "opened", "verified", "committed", "add_location", "record_success", "release"]


class Slow:
    """Makes one method of the catalogue take its time, before its effect, so that a cancellation meets it half-way."""

    def __init__(self, house: House, method: str, patch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        inner = getattr(house.catalogue, method)

        def slow(*args: Any, **options: Any) -> Any:
            if not self.entered.is_set():
                self.entered.set()
                time.sleep(0.1)
            return inner(*args, **options)

        patch.setattr(house.catalogue, method, slow)


async def cancel_when(event: threading.Event, work: Coroutine[Any, Any, Any]) -> bool:
    """Whether the work ended by the cancellation; an end in spite of it is fine if it is a true one."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(until(event))
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


def assert_all_or_nothing(house: House, before: Any, data: bytes, present: set[str], wanted: set[str], settle: Any) -> None:
    """What is recorded is there, what is there is recorded; and nobody holds the image."""
    after = house.image(before.image_id)
    if after.locations == before.locations:
        assert state(after) == state(before)
    else:
        assert present < set(after.stores) <= present | wanted
    assert house.files() == sorted(f"{store_id}/{before.image_id}" for store_id in after.stores)
    assert all(house.object(store_id, before.image_id) == data for store_id in after.stores)
    assert_settled(house, before.image_id, wanted)


def test_a_cancellation_that_meets_a_refusal_takes_nothing_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's lease has ended, so that the refused command would go on by ending what that had begun."""
    image = house.queued()
    holder = house.catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    house.catalogue.renew(holder, idle=house.catalogue.lease)
    slow = Slow(house, "acquire", monkeypatch)
    request = ImportRequest(house.source(DATA), image_id=image.image_id)
    assert run(cancel_when(slow.entered, import_image(house.site, request)))
    found = house.catalogue.holder(image.image_id)
    assert found is not None
    assert (found.id, found.is_expired) == (holder.id, True)


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize("method", WRITES)
def test_an_import_cancelled_in_a_write_to_the_catalogue(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, must_succeed: bool
) -> None:
    """A call that is under way goes on in its thread: its effect must not outlive the rollback, nor the rollback its effect."""
    before = house.queued()
    slow = Slow(house, method, monkeypatch)
    request = ImportRequest(house.source(DATA), before.image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    run(cancel_when(slow.entered, import_image(house.site, request)))
    time.sleep(0.15)  # whatever was left behind in a thread has ended
    assert_all_or_nothing(house, before, DATA, set(), set("abc"), assert_settled)
    if house.image(before.image_id).status is Status.QUEUED:
        house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert house.image(before.image_id).status is Status.ACTIVE


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize("method", WRITES)
def test_a_copy_cancelled_in_a_write_to_the_catalogue(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, must_succeed: bool
) -> None:
    before = house.active(DATA, "a")
    slow = Slow(house, method, monkeypatch)
    work = copy_image(house.site, before.image_id, stores=["b", "c"], all_stores_must_succeed=must_succeed)
    run(cancel_when(slow.entered, work))
    time.sleep(0.15)
    assert_all_or_nothing(house, before, DATA, {"a"}, set("bc"), assert_settled)


@pytest.mark.parametrize("method", ["acquire", "remove_location", "release"])
def test_a_deletion_cancelled_in_a_write_to_the_catalogue(house: House, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    image_id = house.active(DATA, "a", "b").image_id
    slow = Slow(house, method, monkeypatch)
    run(cancel_when(slow.entered, delete_from_store(house.site, image_id, "b")))
    time.sleep(0.15)
    assert_holds(house, image_id, DATA, *house.image(image_id).stores)
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("must_succeed", [True, False])
def test_an_import_cancelled_in_mid_stream(house: House, must_succeed: bool) -> None:
    """It takes effect within a second, and the same request works afterwards."""
    before = house.queued()
    source = HeldSource(DATA)
    request = ImportRequest(source, before.image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    started = time.monotonic()
    assert run(cancel_when(source.waiting, import_image(house.site, request)))
    assert time.monotonic() - started < 2
    assert state(house.image(before.image_id)) == state(before)
    assert house.files() == []
    assert_settled(house, before.image_id, "abc")
    house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert_holds(house, before.image_id, DATA, "a", "b", "c")


@pytest.mark.parametrize("step", ["flush", "commit", "after commit"])
@pytest.mark.parametrize("must_succeed", [True, False])
def test_an_import_cancelled_in_a_step_of_a_store(open_site: OpenSite, tmp_path: Path, step: str, must_succeed: bool) -> None:
    """With best effort a store that has committed keeps the image; with all-must none does."""
    reached = threading.Event()

    def slow() -> None:
        reached.set()
        time.sleep(0.2)

    house = open_site(file_stores(tmp_path, "a", b={step: slow}))
    before = house.queued()
    request = ImportRequest(house.source(DATA), before.image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    run(cancel_when(reached, import_image(house.site, request)))
    assert_all_or_nothing(house, before, DATA, set(), set("ab"), assert_settled)
    if must_succeed:
        assert state(house.image(before.image_id)) == state(before)


# -- the catalogue fails ----------------------------------------------------------------------------------------------------------


def fails(house: House, method: str, patch: pytest.MonkeyPatch, times: int = 1) -> None:
    inner, left = getattr(house.catalogue, method), [times]

    def failing(*args: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise CatalogueError("the database is away")
        return inner(*args, **options)

    patch.setattr(house.catalogue, method, failing)


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize("method", ["acquire", "begin", "opened", "verified", "committed", "add_location", "record_success"])
def test_an_import_whose_catalogue_fails_once(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, must_succeed: bool
) -> None:
    """What is active stays so with its data; otherwise all is as before. Never data without a record, or a record without data."""
    before = house.queued()
    fails(house, method, monkeypatch)
    request = ImportRequest(house.source(DATA), before.image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    try:
        run(import_image(house.site, request))
    except GlanceStreamError as error:
        assert "database is away" in str(error)  # noqa: PT017
    assert_all_or_nothing(house, before, DATA, set(), set("abc"), assert_settled)


def test_the_first_cause_is_reported_when_the_failure_can_not_be_recorded(
    open_site: OpenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the image stays locked for `recover`, because nobody else knows what there is to restore."""
    house = open_site(file_stores(tmp_path, "a", b={"flush": StoreFull("b", "full")}))
    before = house.queued()
    fails(house, "record_failure", monkeypatch)
    with pytest.raises(ImportFailed, match="full"):
        house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert "the database is away" in caplog.text
    assert house.files() == []
    assert house.catalogue.holder(before.image_id) is not None


def test_an_observer_that_raises_at_the_end_undoes_nothing(house: House) -> None:
    """Its error is its own affair once all is recorded."""
    before = house.queued()

    def observe(progress: Any) -> None:
        if progress.phase == "done":
            raise RuntimeError("the terminal is gone")

    request = ImportRequest(house.source(DATA), before.image_id, all_stores=True)
    run(import_image(house.site, request, observe))
    assert_holds(house, before.image_id, DATA, "a", "b", "c")
    assert_settled(house, before.image_id, "abc")


def test_deleting_an_image_cancelled_on_its_last_store(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either it is there with its data or it is gone."""
    image_id = house.active(DATA, "a").image_id
    slow = Slow(house, "delete_image", monkeypatch)
    run(cancel_when(slow.entered, delete_image(house.site, image_id)))
    time.sleep(0.15)
    assert (house.files(), house.catalogue.list_images()) == ([], [])
