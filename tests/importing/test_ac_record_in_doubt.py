"""The answer of the catalogue is lost after it has committed: what an active image rests on must not be undone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing_words import House, assert_holds, assert_settled, content, file_stores, run, until

from glance_stream.catalogue import Task
from glance_stream.errors import CatalogueError, RecordInDoubt, StoreFull
from glance_stream.importing import ImportRequest, import_image, recover
from glance_stream.model import Location, Status

DATA = content()


def lose(house: House, monkeypatch: pytest.MonkeyPatch, name: str, *, before: bool = False, reading: bool = False) -> None:
    """The named operation answers with a lost connection, before or after it took effect; reading may fail from then on."""
    catalogue = house.site.catalogue
    real: Callable[..., Any] = getattr(catalogue, name)
    lost = False

    def operation(*given: Any, **named: Any) -> None:
        nonlocal lost
        if not before:
            real(*given, **named)
        lost = True
        raise CatalogueError("server closed the connection unexpectedly")

    def failing(read: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*given: Any) -> Any:
            if lost and reading:
                raise CatalogueError("server closed the connection unexpectedly")
            return read(*given)

        return maybe

    monkeypatch.setattr(catalogue, name, operation)
    for reader in ("is_shown", "is_open", "was_released"):
        monkeypatch.setattr(catalogue, reader, failing(getattr(catalogue, reader)))


def test_a_success_that_was_recorded_is_a_success(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    image = house.queued()
    lose(house, monkeypatch, "record_success")
    house.import_(DATA, image_id=image.image_id, stores=["a", "b"])
    assert house.image(image.image_id).status is Status.ACTIVE
    assert house.object("a", image.image_id) == house.object("b", image.image_id) == DATA


def test_a_success_that_was_not_recorded_is_undone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    image = house.queued()
    lose(house, monkeypatch, "record_success", before=True)
    with pytest.raises(CatalogueError):
        house.import_(DATA, image_id=image.image_id, stores=["a", "b"])
    assert house.image(image.image_id).status is Status.QUEUED
    assert house.files() == []


def test_best_effort_keeps_a_location_that_was_recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    image = house.queued()
    lose(house, monkeypatch, "add_location")
    house.import_(DATA, image_id=image.image_id, stores=["a", "b"], all_stores_must_succeed=False)
    assert house.image(image.image_id).stores == ("a", "b")
    assert house.object("a", image.image_id) == house.object("b", image.image_id) == DATA


@pytest.mark.parametrize(("name", "must"), [("record_success", True), ("add_location", False)])
def test_nothing_is_undone_while_it_can_not_be_told(house: House, monkeypatch: pytest.MonkeyPatch, name: str, must: bool) -> None:
    image = house.queued()
    with monkeypatch.context() as broken:
        lose(house, broken, name, reading=True)
        with pytest.raises(RecordInDoubt, match="recover"):
            house.import_(DATA, image_id=image.image_id, stores=["a"], all_stores_must_succeed=must)
        assert house.object("a", image.image_id) == DATA
    assert house.image(image.image_id).status is Status.ACTIVE
    run(recover(house.site))
    assert house.object("a", image.image_id) == DATA


def shown_without_an_answer(
    house: House, monkeypatch: pytest.MonkeyPatch, store_id: str, happens: Callable[[], object], *, kept: bool = True
) -> None:
    """The location in this store is shown, if that was kept, and the catalogue is not there any more to say so."""
    catalogue = house.site.catalogue
    real = catalogue.add_location

    def add_location(task: Task, location: Location, *, activate: bool) -> None:
        if location.store_id != store_id:
            return real(task, location, activate=activate)
        happens()
        if kept:
            real(task, location, activate=activate)
        raise CatalogueError("server closed the connection unexpectedly")

    def is_shown(*_: Any) -> bool:
        raise CatalogueError("server closed the connection unexpectedly")

    monkeypatch.setattr(catalogue, "add_location", add_location)
    monkeypatch.setattr(catalogue, "is_shown", is_shown)


def recover_expired(house: House, image_id: str) -> None:
    """This process lives, so that its lease has to end."""
    holder = house.catalogue.holder(image_id)
    assert holder is not None
    house.catalogue.renew(holder, idle=house.catalogue.lease + 1)
    assert run(recover(house.site)).leftovers == ()


def test_a_cancellation_does_not_hide_that_it_can_not_be_told(
    open_site: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease ends because the catalogue is away, or somebody has lost patience. The other store's commit is cut short."""
    recording, committing, go = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        recording.set()
        assert go.wait(10)

    def fail() -> None:
        committing.set()
        assert go.wait(10)
        raise StoreFull("b", "full")

    house = open_site(file_stores(tmp_path, "a", b={"commit": fail}))
    image = house.queued()

    async def cancelled() -> None:
        request = ImportRequest(house.source(DATA), image.image_id, stores=["a", "b"], all_stores_must_succeed=False)
        importing = asyncio.ensure_future(import_image(house.site, request))
        await until(recording)
        await until(committing)
        importing.cancel()
        await asyncio.sleep(0.05)
        go.set()
        with pytest.raises(RecordInDoubt):
            await importing

    with monkeypatch.context() as broken:
        shown_without_an_answer(house, broken, "a", wait)
        run(cancelled())
    recover_expired(house, image.image_id)
    assert_holds(house, image.image_id, DATA, "a")
    assert_settled(house, image.image_id, "ab")


@pytest.mark.parametrize("kept", [True, False])
def test_what_can_not_be_told_is_left_to_recover_whatever_else_went_well(
    house: House, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    image = house.queued()
    shown = threading.Event()
    monkeypatch.setattr(house.catalogue, "look", lambda name: shown.set() if name == "add_location" else None)
    with monkeypatch.context() as broken:
        shown_without_an_answer(house, broken, "b", lambda: shown.wait(10), kept=kept)
        with pytest.raises(RecordInDoubt):
            house.import_(DATA, image_id=image.image_id, stores=["a", "b"], all_stores_must_succeed=False)
    recover_expired(house, image.image_id)
    assert_holds(house, image.image_id, DATA, *("ab" if kept else "a"))
    assert house.lists(image.image_id) == ("", "" if kept else "b")
    assert_settled(house, image.image_id, "ab")
