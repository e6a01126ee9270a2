"""A store's directory that is missing while images are recorded in it: its disk is not mounted, and nothing takes it for new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import House, content, file_stores, run
from sqlalchemy import update

from glance_stream.catalogue.tables import image_locations
from glance_stream.errors import EXIT_FAILED, ImportFailed, StoreUnavailable
from glance_stream.importing import Verdict, copy_image, delete_from_store, delete_image, verify
from glance_stream.stores.file import FileStore
from glance_stream.stores.file.directories import FileDirectoriesStore

DATA = content()
OTHER = content(seed=2)
LOST = "b is not there, and 1 image is recorded in it: is it mounted?"
OpenSite = Callable[..., House]


@pytest.fixture
def later(house: House, open_site: OpenSite, tmp_path: Path) -> tuple[House, str]:
    """An image in a and b, and the site as a later process opens it, without b's disk."""
    image_id = house.active(DATA, "a", "b").image_id
    unmount(house.directory("b"))
    house.catalogue.close()
    return open_site(), image_id


def away(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}-away")


def unmount(directory: Path) -> None:
    directory.rename(away(directory))


def mount(directory: Path) -> None:
    assert not directory.exists()
    away(directory).rename(directory)


def test_an_import_is_refused_and_makes_nothing(later: tuple[House, str]) -> None:
    house, image_id = later
    with pytest.raises(ImportFailed) as caught:
        house.import_(OTHER, stores=["a", "b"])
    assert isinstance(caught.value.failures["b"], StoreUnavailable)
    assert LOST in str(caught.value)
    assert caught.value.exit_code == EXIT_FAILED
    mount(house.directory("b"))
    assert house.files() == [f"a/{image_id}", f"b/{image_id}"]
    assert not run(verify(house.site, image_id)).damaged


def test_a_process_that_goes_on_is_told_too(house: House) -> None:
    """It has seen the directory, or has opened the store without it."""
    house.active(DATA, "a", "b")
    unmount(house.directory("b"))
    for stores in (["b"], ["a", "b"]):
        with pytest.raises(ImportFailed, match="is it mounted"):
            house.import_(OTHER, stores=stores)
    mount(house.directory("b"))
    assert house.import_(OTHER, stores=["a", "b"]).image.stores == ("a", "b")


def test_with_best_effort_the_store_drops_out(later: tuple[House, str]) -> None:
    house, _ = later
    outcome = house.import_(OTHER, stores=["a", "b"], all_stores_must_succeed=False)
    assert outcome.image.stores == ("a",)
    assert LOST in str(outcome.failures["b"])
    assert not house.directory("b").exists()


def test_all_stores_leaves_it_out_and_says_so(later: tuple[House, str]) -> None:
    house, _ = later
    for _ in range(2):
        outcome = house.import_(OTHER, all_stores=True)
        assert outcome.image.stores == ("a", "c")
        (note,) = outcome.notes
        assert note.startswith("left out of all stores: ")
        assert LOST in note
    assert not house.directory("b").exists()


def test_a_copy_is_refused(later: tuple[House, str]) -> None:
    house, _ = later
    image = house.active(OTHER, "a")
    with pytest.raises(ImportFailed) as caught:
        run(copy_image(house.site, image.image_id, stores=["b"]))
    assert LOST in str(caught.value)
    assert house.image(image.image_id).stores == ("a",)
    assert not house.directory("b").exists()


def test_a_new_store_gets_its_directory(house: House) -> None:
    """Also where there are images in other stores."""
    house.active(DATA, "a")
    assert not house.directory("b").exists()
    image = house.active(OTHER, "b")
    assert house.object("b", image.image_id) == OTHER


@pytest.mark.parametrize("store_id", ["", "renamed since"])
def test_locations_are_known_by_their_urls_too(later: tuple[House, str], store_id: str) -> None:
    """As Glance had them before stores had ids, and as they are before the image is looked at."""
    house, _ = later
    with house.catalogue._database.write() as connection:
        connection.execute(update(image_locations).where(image_locations.c.store_id == "b").values(store_id=store_id))
    with pytest.raises(ImportFailed, match="is it mounted"):
        house.import_(OTHER, stores=["b"])
    assert not house.directory("b").exists()


def test_a_store_whose_path_was_changed_is_a_new_one(house: House, open_site: OpenSite, tmp_path: Path) -> None:
    """What is recorded is not in the directory that is missing."""
    house.active(DATA, "b")
    house.catalogue.close()
    moved = open_site({**file_stores(tmp_path, "a"), "b": FileStore("b", tmp_path / "elsewhere")})
    assert moved.active(OTHER, "b").stores == ("b",)


def test_several_directories_that_are_all_missing(open_site: OpenSite, tmp_path: Path) -> None:
    """None is made: one would hide the loss of the other."""
    disks = [tmp_path / "disk1", tmp_path / "disk2"]

    def opened() -> House:
        store = FileDirectoriesStore("disks", {str(path): number for number, path in enumerate(disks)})
        return open_site({**file_stores(tmp_path, "a"), "disks": store})

    first = opened()
    image_id = first.active(DATA, "disks").image_id
    first.catalogue.close()
    for disk in disks:
        unmount(disk)
    house = opened()
    with pytest.raises(ImportFailed, match="1 image is recorded in it: is it mounted"):
        house.active(OTHER, "disks")
    assert house.import_(OTHER, all_stores=True).image.stores == ("a",)
    assert not any(disk.exists() for disk in disks)
    for disk in disks:
        mount(disk)
    assert house.active(OTHER, "disks").stores == ("disks",)
    assert not run(verify(house.site, image_id)).damaged


@pytest.mark.parametrize("tried_before", [False, True])
def test_what_is_not_there_to_be_deleted_is_not_gone(later: tuple[House, str], tried_before: bool) -> None:
    """Also after an import there was tried: the location stays, and the object can be deleted when the disk is back."""
    house, image_id = later
    if tried_before:
        with pytest.raises(ImportFailed):
            house.import_(OTHER, stores=["b"])
    assert [one.verdict for one in run(verify(house.site, image_id)).checked] == [Verdict.GOOD, Verdict.UNREADABLE]
    with pytest.raises(StoreUnavailable, match="is it mounted") as caught:
        run(delete_from_store(house.site, image_id, "b"))
    assert caught.value.exit_code == EXIT_FAILED
    assert house.image(image_id).stores == ("a", "b")
    with pytest.raises(StoreUnavailable, match="is it mounted"):
        run(delete_image(house.site, image_id))
    assert house.image(image_id).stores == ("b",)
    mount(house.directory("b"))
    assert run(delete_image(house.site, image_id)).notes == ()
    assert house.files("b") == []
