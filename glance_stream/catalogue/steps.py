"""Whole transactions. Each begins with its image's row, so that they neither pass each other nor wait for each other crosswise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from glance_stream.catalogue import held, images, journal, locations, locks, outcome
from glance_stream.catalogue.held import Held
from glance_stream.catalogue.journal import Content
from glance_stream.catalogue.tasks import Task, why_locked
from glance_stream.errors import CatalogueError, ImageLocked
from glance_stream.model import FAILED_IMPORT, IMPORT_TASK, IMPORTING_TO_STORES, Fingerprints, Image, Status

P = ParamSpec("P")
T = TypeVar("T")


def one_at_a_time(
    connection: Connection,
    image_id: str,
    step: Callable[Concatenate[Connection, P], T],
    /,
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    images.hold(connection, image_id)
    return step(connection, *arguments, **named)


def while_held(
    connection: Connection,
    task: Task,
    step: Callable[Concatenate[Held, P], T],
    /,
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Kept only if the task holds the image, and no image is active without data at its end."""
    result = step(held.require(connection, task), *arguments, **named)
    outcome.require_data(connection, task.image_id)
    return result


def create_and_begin(
    connection: Connection,
    image_id: str,
    record: Mapping[str, str | None],
    properties: Mapping[str, str],
    task: Task,
    lease: float,
    stores: Sequence[str],
) -> tuple[Image, Task]:
    """The record, its lock, and what `recover` has to know of its import, which is to leave it queued."""
    journal.check_request(stores)
    ours = {IMPORT_TASK: task.id, IMPORTING_TO_STORES: locations.joined(stores), FAILED_IMPORT: ""}
    image = images.create(connection, image_id, record, properties, ours, status=Status.IMPORTING, fence=1)
    recorded = locks.insert_task(connection, task, lease, fence=1)
    journal.begin_new(connection, recorded, stores)
    return image, recorded


def delete_image(connection: Connection, image_id: str, task: Task | None) -> None:
    if task is not None:
        locks.require(connection, task)
    elif (holder := locks.holder(connection, image_id)) is not None:
        raise locked(image_id, holder)
    images.forget(connection, image_id)


def withdraw_image(connection: Connection, image_id: str) -> None:
    if images.is_queued(connection, image_id) and locks.holder(connection, image_id) is None:
        images.forget(connection, image_id)


def release(connection: Connection, task: Task) -> None:
    if journal.find(connection, task) or journal.find_deletion(connection, task):
        raise CatalogueError(f"image {task.image_id}: the outcome of {task} is not recorded, so it stays locked")
    locks.drop(connection, task)


def verified(image: Held, content: Content, fingerprints: Fingerprints | None, disk_format: str | None) -> None:
    journal.verified(image, content, fingerprints)
    if disk_format is not None:
        images.stamp(image.connection, image.image_id, disk_format=disk_format)


def fingerprints(connection: Connection, image_id: str) -> Fingerprints | None:
    images.get(connection, image_id)
    return images.read_fingerprints(connection, image_id)


def locked(image_id: str, holder: Task) -> ImageLocked:
    return ImageLocked(f"image {image_id} is locked: {why_locked(holder)}")
