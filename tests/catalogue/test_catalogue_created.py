"""An image that is created, taken and begun with in one transaction, and one that is let go of with its outcome."""

from __future__ import annotations

import uuid

import pytest
from catalogue_words import CONTENT, at

from glance_stream.catalogue import Catalogue, Lock, Operation, Task
from glance_stream.errors import ImageNotFound, InvalidRequest, LockLost
from glance_stream.model import Image, Status


def created(catalogue: Catalogue, image_id: str | None = None, stores: tuple[str, ...] = ("a", "b")) -> tuple[Image, Lock]:
    name = image_id or str(uuid.uuid4())
    task = Task.here(name, Operation.IMPORT)
    return catalogue.create_and_begin(
        name, task, stores, name="n", disk_format=None, container_format="bare", properties={"os": "linux"}
    )


def succeeded(catalogue: Catalogue, task: Task) -> Image:
    catalogue.verified(task, *CONTENT)
    return catalogue.record_success(task, [at("a"), at("b")], release=True)


def test_it_is_as_after_the_three_steps(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    assert catalogue.get_image(image.image_id) == image
    assert (image.status, image.properties["os"]) == (Status.IMPORTING, "linux")
    assert catalogue.holder(image.image_id) == lock.task
    found = catalogue.interruption(image.image_id)
    assert found is not None
    assert found.journal is not None
    assert (found.journal.stores, found.journal.importing, found.journal.entries) == (("a", "b"), True, ())
    assert (found.journal.earlier_status, found.journal.earlier.size) == (Status.QUEUED, None)


def test_it_fails_into_a_queued_image(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    catalogue.record_failure(lock.task, {"a": ("StoreFull", "full")})
    catalogue.release(lock.task)
    now = catalogue.get_image(image.image_id)
    assert now.status is Status.QUEUED
    assert now.properties == {"os": "linux", "os_glance_importing_to_stores": "", "os_glance_failed_import": "a"}


@pytest.mark.parametrize("stores", [(), ("a", "a"), ("a,b",)])
def test_a_bad_list_of_stores_creates_nothing(catalogue: Catalogue, stores: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        created(catalogue, stores=stores)
    assert catalogue.list_images() == []


def test_an_id_is_taken_once(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    with pytest.raises(InvalidRequest, match="already"):
        created(catalogue, image.image_id)
    assert catalogue.holder(image.image_id) == lock.task


def test_a_success_lets_go_of_the_image(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    catalogue.opened(lock.task, {"a": "trace a", "b": "trace b"})
    catalogue.committed(lock.task, at("a"), at("b"))
    assert not catalogue.was_released(lock.task)
    told = succeeded(catalogue, lock.task)
    assert told == catalogue.get_image(image.image_id)
    assert told.status is Status.ACTIVE
    assert told.properties == {"os": "linux", "os_glance_importing_to_stores": "", "os_glance_failed_import": ""}
    assert catalogue.interrupted() == []
    assert catalogue.was_released(lock.task)
    with pytest.raises(LockLost):
        catalogue.committed(lock.task, at("a"))


def test_it_can_not_be_told_once_another_has_the_image(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    succeeded(catalogue, lock.task)
    other = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.COPY)).task
    with pytest.raises(LockLost):
        catalogue.was_released(lock.task)
    catalogue.release(other)
    with pytest.raises(LockLost):
        catalogue.was_released(lock.task)
    catalogue.delete_image(image.image_id)
    with pytest.raises(LockLost):
        catalogue.was_released(lock.task)
    with pytest.raises(ImageNotFound):
        catalogue.get_image(image.image_id)


def test_a_success_gives_the_image_as_it_is_while_it_is_held(catalogue: Catalogue) -> None:
    image, lock = created(catalogue)
    catalogue.verified(lock.task, *CONTENT)
    catalogue.add_location(lock.task, at("a"), activate=True)
    told = catalogue.record_success(lock.task, [at("a")], {"b": ("StoreFull", "full")})
    assert told == catalogue.get_image(image.image_id)
    assert told.stores == ("a",)
    catalogue.release(lock.task)
