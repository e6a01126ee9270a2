"""Records: what users create, read, annotate and delete."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from catalogue_words import CONTENT, at

from glance_stream.catalogue import Catalogue, Operation, Task
from glance_stream.errors import ImageLocked, ImageNotFound, InvalidRequest, LockLost
from glance_stream.model import FAILED_IMPORT, IMPORT_TASK, IMPORTING_TO_STORES, Fingerprints, Image, Location, Status

FORMATS = {"disk_format": "raw", "container_format": "bare"}


def new(catalogue: Catalogue, **options: object) -> Image:
    fields: dict[str, object] = {"name": None, **FORMATS, "properties": {}, **options}
    return catalogue.create_image(str(uuid.uuid4()), **fields)  # type: ignore[arg-type]


def test_a_new_image_is_queued_and_holds_what_it_was_given(catalogue: Catalogue) -> None:
    image = new(catalogue, name="größe", os_hash_algo="sha256", properties={"schlüssel": "wert ☃"})
    assert image == catalogue.get_image(image.image_id)
    assert (image.status, image.name, image.os_hash_algo) == (Status.QUEUED, "größe", "sha256")
    assert (image.size, image.os_hash_value, image.locations, image.stores) == (None, None, (), ())
    assert image.properties == {"schlüssel": "wert ☃"}


def test_times_are_aware_and_in_utc(catalogue: Catalogue) -> None:
    image = new(catalogue)
    assert image.created_at is not None
    assert image.created_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - image.created_at) < timedelta(minutes=1)


def test_images_are_listed_newest_first_each_with_its_own(catalogue: Catalogue) -> None:
    made = [new(catalogue, properties={"n": str(number)}) for number in range(3)]
    assert catalogue.list_images() == made[::-1]


@pytest.mark.parametrize(
    "image_id", ["", "jammy", "5DE5277A-A18E-4017-824B-890F1150F5C9", "5de5277aa18e4017824b890f1150f5c9", None, 5]
)
def test_an_id_that_glance_would_not_write_is_refused(catalogue: Catalogue, image_id: str) -> None:
    with pytest.raises(InvalidRequest, match="UUID"):
        catalogue.create_image(image_id, name=None, **FORMATS)
    assert catalogue.list_images() == []


def test_an_id_can_be_used_once(catalogue: Catalogue, image: Image) -> None:
    with pytest.raises(InvalidRequest, match="already"):
        catalogue.create_image(image.image_id, name="other", **FORMATS)
    assert catalogue.get_image(image.image_id) == image


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "n" * 256),
        ("name", "n\0"),
        ("name", 3),
        ("name", "\udcff"),
        ("disk_format", "f" * 21),
        ("properties", {"p" * 256: ""}),
        ("properties", {"": ""}),
        ("properties", {"p": 1}),
        ("properties", {"p": None}),
        ("properties", {b"p": "v"}),
    ],
)
def test_what_other_databases_would_refuse_is_refused(catalogue: Catalogue, field: str, value: object) -> None:
    with pytest.raises(InvalidRequest):
        new(catalogue, **{field: value})
    assert catalogue.list_images() == []


def test_an_unknown_image_is_not_found(catalogue: Catalogue) -> None:
    unknown = str(uuid.uuid4())
    for call in (
        lambda: catalogue.get_image(unknown),
        lambda: catalogue.delete_image(unknown),
        lambda: catalogue.update_properties(unknown, {"a": "b"}),
        lambda: catalogue.fingerprints(unknown),
        lambda: catalogue.acquire(unknown, Task.here(unknown, Operation.COPY)),
        lambda: catalogue.take_over(unknown, Task.here(unknown, Operation.COPY)),
    ):
        with pytest.raises(ImageNotFound):
            call()


def test_properties_are_set_replaced_and_removed(catalogue: Catalogue, image: Image) -> None:
    catalogue.update_properties(image.image_id, {"a": "1", "b": "2"})
    after = catalogue.update_properties(image.image_id, {"a": "3"}, ["b", "os_distro"])
    assert after.properties == {"a": "3"}
    assert after == catalogue.get_image(image.image_id)
    assert after.updated_at is not None
    assert image.updated_at is not None
    assert after.updated_at > image.updated_at


@pytest.mark.parametrize("name", ["stores", "os_glance", "os_glance_x", IMPORT_TASK, FAILED_IMPORT, IMPORTING_TO_STORES])
def test_reserved_properties_are_refused_on_create_and_update(catalogue: Catalogue, image: Image, name: str) -> None:
    """AC15: Glance still lets `stores` in by PATCH (bug 1889676)."""
    with pytest.raises(InvalidRequest, match="read-only"):
        new(catalogue, properties={name: "a"})
    with pytest.raises(InvalidRequest, match="read-only"):
        catalogue.update_properties(image.image_id, {"x": "y", name: "a"})
    with pytest.raises(InvalidRequest, match="read-only"):
        catalogue.update_properties(image.image_id, {"x": "y"}, [name])
    assert catalogue.list_images() == [image]


@pytest.mark.parametrize(("additions", "removals"), [({"x": "y"}, ["missing"]), ({"os_distro": "y"}, ["os_distro"])])
def test_a_refused_update_changes_nothing(
    catalogue: Catalogue, image: Image, additions: dict[str, str], removals: list[str]
) -> None:
    with pytest.raises(InvalidRequest):
        catalogue.update_properties(image.image_id, additions, removals)
    assert catalogue.get_image(image.image_id) == image


def test_deleting_a_record_takes_all_of_it_but_not_what_is_left_in_stores(catalogue: Catalogue, imported: Image) -> None:
    other = new(catalogue)
    catalogue.delete_image(imported.image_id)
    assert catalogue.list_images() == [other]
    assert catalogue.failures(imported.image_id) == []
    again = catalogue.create_image(imported.image_id, name=None, **FORMATS)
    assert (again.locations, again.properties, catalogue.fingerprints(again.image_id)) == ((), {}, None)


def test_a_locked_image_is_deleted_by_its_holder_alone(catalogue: Catalogue, image: Image, task: Task) -> None:
    with pytest.raises(ImageLocked, match="import by process"):
        catalogue.delete_image(image.image_id)
    with pytest.raises(LockLost):
        catalogue.delete_image(image.image_id, Task.here(image.image_id, Operation.DELETE))
    catalogue.delete_image(image.image_id, task)
    catalogue.release(task)
    assert catalogue.list_images() == []


def test_fingerprints_are_kept_apart_and_whole(catalogue: Catalogue, image: Image, task: Task) -> None:
    large = Fingerprints(1 << 22, bytes(range(256)) * (1 << 14))  # an image of 1 TiB
    catalogue.begin(task, ["a"], importing=True)
    catalogue.verified(task, *CONTENT[:4], large)
    assert catalogue.fingerprints(image.image_id) is None
    catalogue.record_success(task, [at("a")])
    assert catalogue.fingerprints(image.image_id) == large


def test_a_location_without_store_id_gets_it_once(catalogue: Catalogue, imported: Image) -> None:
    """AC17: Glance looked it up on every read (bug 1886374)."""
    with catalogue._database.write() as connection:
        connection.exec_driver_sql("UPDATE image_locations SET store_id = ''")
    legacy = catalogue.get_image(imported.image_id).locations[0]
    assert legacy.store_id == ""
    assert catalogue.resolve_location(imported.image_id, legacy.url, "größe")
    assert catalogue.get_image(imported.image_id).locations == (Location(legacy.url, "größe", legacy.metadata),)
    assert not catalogue.resolve_location(imported.image_id, legacy.url, "other")
    assert catalogue.get_image(imported.image_id).stores == ("größe",)
    with pytest.raises(InvalidRequest):
        catalogue.resolve_location(imported.image_id, legacy.url, "a,b")
