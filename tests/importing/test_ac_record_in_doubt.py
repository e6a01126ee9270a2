"""The answer of the catalogue is lost after it has committed: what an active image rests on must not be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from importing_words import House, content, run

from glance_stream.errors import CatalogueError, RecordInDoubt
from glance_stream.importing import recover
from glance_stream.model import Status

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
    for reader in ("is_shown", "is_open"):
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
