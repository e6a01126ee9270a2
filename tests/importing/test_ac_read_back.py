"""A catalogue that goes away when all is recorded: what was done is told as done, and not as a failure that was rolled back."""

from __future__ import annotations

from typing import Any

import pytest
from importing_words import House, content, run

from glance_stream.errors import CatalogueError, CatalogueUnavailable
from glance_stream.importing import copy_image, delete_from_store
from glance_stream.model import Image, Status

DATA = content()


@pytest.fixture
def goes_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image can be read any more once a lock has been released, and what that answered is lost."""
    catalogue = house.site.catalogue
    release, record_success, get_image = catalogue.release, catalogue.record_success, catalogue.get_image
    released = False

    def released_by(*given: Any) -> None:
        nonlocal released
        release(*given)
        released = True

    def succeeded(*given: Any, **named: Any) -> Image:
        nonlocal released
        record_success(*given, **named)
        released = True
        raise CatalogueError("the answer is lost")

    def unless_released(*given: Any) -> Image:
        if released:
            raise CatalogueUnavailable("the server is gone")
        return get_image(*given)

    monkeypatch.setattr(catalogue, "release", released_by)
    monkeypatch.setattr(catalogue, "record_success", succeeded)
    monkeypatch.setattr(catalogue, "get_image", unless_released)


def agree(told: Image, recorded: Image) -> None:
    for name in ("status", "size", "disk_format", "os_hash_algo", "os_hash_value", "checksum", "stores"):
        assert getattr(told, name) == getattr(recorded, name), name


def test_import(house: House, goes_away: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = house.import_(DATA, stores=["a", "b"]).image
    monkeypatch.undo()
    assert told.status is Status.ACTIVE
    agree(told, house.image(told.image_id))


@pytest.fixture
def image_id(house: House) -> str:
    return house.import_(DATA, stores=["a", "b"]).image.image_id


def test_copy(house: House, image_id: str, goes_away: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = run(copy_image(house.site, image_id, stores=["c"])).image
    monkeypatch.undo()
    assert told.stores == ("a", "b", "c")
    agree(told, house.image(image_id))


def test_delete_from_one_store(house: House, image_id: str, goes_away: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = run(delete_from_store(house.site, image_id, "a")).image
    monkeypatch.undo()
    assert told.stores == ("b",)
    agree(told, house.image(image_id))
