"""Locations from before stores had ids, and stores whose places resemble each other (AC17, AC18)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from importing_words import House, assert_holds, content, run
from sqlalchemy import create_engine, text

from glance_stream.catalogue import Catalogue
from glance_stream.errors import InvalidRequest
from glance_stream.importing import copy_image, delete_from_store, delete_image, verify
from glance_stream.model import Image
from glance_stream.stores.file import FileStore

DATA = content()
OpenSite = Callable[..., House]


def forget_store_ids(house: House, image: Image) -> None:
    """The record as it was written before there were many stores."""
    engine = create_engine(f"sqlite:///{house.root}/catalogue.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE image_locations SET store_id = '' WHERE image_id = :id"), {"id": image.image_id})
    engine.dispose()


def resolutions(house: House) -> int:
    return [write for write, _ in house.catalogue.history].count("resolve_location")


def test_ac17_a_location_without_a_store_id_is_resolved_once_and_for_good(house: House) -> None:
    """AC17."""
    image = house.active(DATA, "a", "b")
    forget_store_ids(house, image)
    assert [location.store_id for location in house.image(image.image_id).locations] == ["", ""]
    assert run(house.site.image(image.image_id)).stores == ("a", "b")
    assert resolutions(house) == 2
    assert house.image(image.image_id).stores == ("a", "b")
    run(house.site.image(image.image_id))
    assert resolutions(house) == 2


def test_ac17_every_operation_knows_the_store(house: House) -> None:
    image = house.active(DATA, "a")
    forget_store_ids(house, image)
    assert not run(verify(house.site, image.image_id, "a")).damaged
    forget_store_ids(house, image)
    run(copy_image(house.site, image.image_id, stores=["b"]))
    forget_store_ids(house, image)
    with pytest.raises(InvalidRequest, match="already present at store 'b'"):
        run(copy_image(house.site, image.image_id, stores=["b"]))
    forget_store_ids(house, image)
    run(delete_from_store(house.site, image.image_id, "a"))
    assert_holds(house, image.image_id, DATA, "b")
    forget_store_ids(house, image)
    run(delete_image(house.site, image.image_id))
    assert house.files() == []


def test_ac17_a_reader_who_can_not_write_the_catalogue_still_reads(house: House) -> None:
    """As Glance does since 23.0.0: what can't be saved is resolved all the same."""
    image = house.active(DATA, "a")
    forget_store_ids(house, image)
    with Catalogue(f"sqlite:///file:{house.root}/catalogue.db?mode=ro&uri=true") as read_only:
        site = replace(house.site, catalogue=read_only)
        assert run(site.image(image.image_id)).stores == ("a",)
        assert run(verify(site, image.image_id)).checked[0].store_id == "a"
    assert house.image(image.image_id).locations[0].store_id == ""


def siblings(root: Path) -> dict[str, FileStore]:
    """Glance's match on the beginning of the URL takes the one for the other."""
    places = {"img": "x/img", "img2": "x/img2", "inner": "x/img/inner"}
    return {store_id: FileStore(store_id, root / place) for store_id, place in places.items()}


@pytest.mark.parametrize("store_id", ["img", "img2", "inner"])
def test_ac18_sibling_prefixes(open_site: OpenSite, tmp_path: Path, store_id: str) -> None:
    """AC18: the right one of /x/img, /x/img2 and /x/img/inner."""
    house = open_site(siblings(tmp_path))
    image = house.active(DATA, store_id)
    forget_store_ids(house, image)
    assert run(house.site.image(image.image_id)).stores == (store_id,)
    assert house.image(image.image_id).stores == (store_id,)


def test_ac18_two_stores_in_one_place_are_an_error_and_not_the_first_match(
    open_site: OpenSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = open_site({name: FileStore(name, tmp_path / "shared") for name in ("one", "other")})
    image = house.active(DATA, "other")
    forget_store_ids(house, image)
    with caplog.at_level(logging.WARNING):
        assert run(house.site.image(image.image_id)).stores == ("",)
    assert "in 2 of this site's stores" in caplog.text
    for operation in (copy_image(house.site, image.image_id, stores=["one"]), delete_image(house.site, image.image_id)):
        with pytest.raises(InvalidRequest):
            run(operation)
    assert run(verify(house.site, image.image_id)).unreadable
    assert house.object("one", image.image_id) == DATA
    assert house.image(image.image_id).locations[0].store_id == ""


def test_ac17_a_store_that_was_renamed_is_found_again(house: House) -> None:
    """As Glance: an id that is no longer enabled is looked up anew."""
    image = house.active(DATA, "a")
    engine = create_engine(f"sqlite:///{house.root}/catalogue.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE image_locations SET store_id = 'old' WHERE image_id = :id"), {"id": image.image_id})
    engine.dispose()
    assert run(house.site.image(image.image_id)).stores == ("a",)
    assert house.image(image.image_id).stores == ("a",)


def test_what_a_legacy_location_holds_is_not_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 11: old Glance locations have credentials in their URLs."""
    image = house.active(DATA, "a")
    engine = create_engine(f"sqlite:///{house.root}/catalogue.db")
    with engine.begin() as connection:
        values = {"id": image.image_id, "url": "s3://AKIAEXAMPLE:TOPSECRET@s3.example/bucket/x?sig=SIGNED"}
        connection.execute(text("UPDATE image_locations SET store_id = '', url = :url WHERE image_id = :id"), values)
    engine.dispose()
    run(house.site.image(image.image_id))
    assert "s3.example" in caplog.text
    assert "TOPSECRET" not in caplog.text
    assert "SIGNED" not in caplog.text
