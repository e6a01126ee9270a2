"""Recovery of deletions whose process died: what was meant is finished, and nothing more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import FaultyStore, House, assert_holds, assert_settled, content, file_stores, run

from glance_stream.errors import StoreUnavailable
from glance_stream.importing import copy_image, recover

DATA = content()
OpenSite = Callable[..., House]
Python = Callable[..., subprocess.Popen[str]]

# argv: root, image id, the store to delete from ('' for all), and the method of the catalogue at whose call the process dies.
DYING = """
import sys
from pathlib import Path
from glance_stream.importing import delete_from_store, delete_image
from importing_words import die, open_house, run
root, image_id, store_id, method = sys.argv[1:]
house = open_house(Path(root))
setattr(house.catalogue, method, lambda *args, **options: die())
run(delete_from_store(house.site, image_id, store_id) if store_id else delete_image(house.site, image_id))
"""


def in_turn(house: House, *stores: str) -> str:
    """An image whose locations stand in this order."""
    image_id = house.active(DATA, stores[0]).image_id
    for store_id in stores[1:]:
        run(copy_image(house.site, image_id, stores=[store_id]))
    return image_id


@pytest.fixture
def dying(tmp_path: Path, python: Python) -> Callable[..., None]:
    def die(image_id: str, store_id: str, method: str) -> None:
        assert python(DYING, tmp_path, image_id, store_id, method).wait(timeout=60) == -9

    return die


def unmounted(house: House, *stores: str) -> None:
    """The directory is there and empty, as a mount point is."""
    for store_id in stores:
        directory = house.directory(store_id)
        directory.rename(directory.with_name(f"{store_id}-away"))
        directory.mkdir()


def mounted(house: House, *stores: str) -> None:
    for store_id in stores:
        directory = house.directory(store_id)
        directory.rmdir()
        directory.with_name(f"{store_id}-away").rename(directory)


@pytest.mark.parametrize("away", ["a", "ac"])
@pytest.mark.parametrize("store_id", ["b", ""])
def test_only_the_copy_that_was_being_deleted_is_dropped(
    house: House, dying: Callable[..., None], store_id: str, away: str
) -> None:
    """That other stores do not show their data, as one that is not mounted, is no reason to forget it."""
    image_id = in_turn(house, "b", "a", "c")
    dying(image_id, store_id, "remove_location")
    unmounted(house, *away)
    assert run(recover(house.site)).images == (image_id,)
    assert house.image(image_id).stores == ("a", "c")
    mounted(house, *away)
    assert_holds(house, image_id, DATA, "a", "c")
    assert_settled(house, image_id, "abc")


def test_a_whole_image_is_forgotten_when_its_last_copy_is_gone(house: House, dying: Callable[..., None]) -> None:
    image_id = in_turn(house, "a", "b")
    dying(image_id, "", "delete_image")
    assert house.image(image_id).stores == ("b",)
    assert run(recover(house.site)).images == (image_id,)
    assert (house.files(), house.catalogue.list_images()) == ([], [])


@pytest.mark.parametrize("store_id", ["a", ""])
def test_what_was_not_deleted_stays(open_site: OpenSite, dying: Callable[..., None], tmp_path: Path, store_id: str) -> None:
    house = open_site(file_stores(tmp_path, "a", "b"))
    image_id = in_turn(house, "a", "b")
    before = house.image(image_id)
    data = house.directory("a") / image_id
    dying(image_id, store_id, "remove_location")
    data.write_bytes(DATA)  # as if it had died a moment before
    assert run(recover(house.site)).images == (image_id,)
    assert house.image(image_id).locations == before.locations
    assert_holds(house, image_id, DATA, "a", "b")
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("store_id", ["b", ""])
def test_while_the_store_does_not_tell_the_deletion_is_kept_for_later(
    open_site: OpenSite, dying: Callable[..., None], tmp_path: Path, store_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    silent = FaultyStore("b", tmp_path / "stores" / "b", {"stat": StoreUnavailable("b", "no route to host")})
    house = open_site({**file_stores(tmp_path, "a"), "b": silent})
    image_id = in_turn(house, "b", "a")
    dying(image_id, store_id, "remove_location")
    before = house.catalogue.interrupted()
    for _ in range(2):
        found = run(recover(house.site))
        assert (found.images, len(found.held)) == ((), 1)
        assert image_id in found.held[0]
        assert "no route to host" in caplog.text
        assert house.catalogue.interrupted() == before
    silent.faults.clear()
    assert run(recover(house.site)).images == (image_id,)
    assert_holds(house, image_id, DATA, "a")
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("deleted", [True, False])
def test_from_a_store_that_the_site_has_no_more(open_site: OpenSite, dying: Callable[..., None], deleted: bool) -> None:
    """Its data counts as there, because nobody can tell: or nothing could ever be done with the image again."""
    image_id = in_turn(open_site(), "a", "b")
    dying(image_id, "b", "remove_location" if deleted else "deleting")
    house = open_site(["a", "c"])
    assert run(recover(house.site)).images == (image_id,)
    assert house.image(image_id).stores == ("a", "b")
    run(copy_image(house.site, image_id, stores=["c"]))
    assert house.image(image_id).stores == ("a", "b", "c")
    assert_settled(house, image_id, "c")
