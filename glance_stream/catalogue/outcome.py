"""How operations end, and what their images are then: the only place where an image becomes active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from glance_stream.catalogue import images, journal, locations
from glance_stream.catalogue.journal import Content, Event, Journal
from glance_stream.catalogue.tables import NAME_LENGTH, failures, fingerprints, leftovers, now
from glance_stream.catalogue.tables import images as image_records
from glance_stream.catalogue.tasks import Task
from glance_stream.catalogue.text import readable
from glance_stream.errors import CatalogueError, DigestMismatch, EmptyImage, InvalidRequest, Leftover
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Fingerprints, Image, Location, Status


@dataclass(frozen=True)
class Failure:
    """Why a store is in the image's list of failed stores."""

    store_id: str
    error: str
    message: str
    at: datetime


@dataclass(frozen=True)
class RecordedLeftover:
    """A leftover and its image, which may have no record any more. ``number`` names it to `Catalogue.remove_leftover`."""

    number: int
    image_id: str
    leftover: Leftover
    at: datetime


def require_data(connection: Connection, image_id: str) -> None:
    """At no instant is an image active without data (bug 1889640): asked before each operation's transaction is committed."""
    record = connection.execute(select(image_records.c.status, image_records.c.size).where(image_records.c.id == image_id)).first()
    if record is None or record.status != Status.ACTIVE:
        return
    if not record.size or not locations.any_of(connection, image_id):
        raise CatalogueError(f"image {image_id} would be active without data; nothing was changed")


def add_location(connection: Connection, task: Task, location: Location, activate: bool) -> None:
    _record_location(connection, task, location)
    locations.change_list(connection, task.image_id, IMPORTING_TO_STORES, remove=[location.store_id])
    if activate:
        _activate(connection, task)
    else:
        images.stamp(connection, task.image_id)


def is_shown(connection: Connection, task: Task, location: Location) -> bool:
    image = images.get(connection, task.image_id)
    return image.status is Status.ACTIVE and any(
        (one.store_id, one.url) == (location.store_id, location.url) for one in image.locations
    )


def remove_location(connection: Connection, task: Task, location: Location) -> None:
    image = images.get(connection, task.image_id)
    if not locations.remove(connection, task.image_id, location):
        raise InvalidRequest(f"image {task.image_id} has no such location in store {location.store_id!r}")
    if image.status is Status.ACTIVE and len(image.locations) == 1:
        raise InvalidRequest(f"image {task.image_id}: {location.store_id!r} is the only store that holds it")
    journal.deleted(connection, task, location)
    images.stamp(connection, task.image_id)


def succeed(connection: Connection, task: Task, held: Sequence[Location], failed: Mapping[str, tuple[str, str]]) -> None:
    operation = journal.require(connection, task)
    _check_failed(task, operation, failed)
    for location in held:
        _record_location(connection, task, location)
    if not held and not any(entry.event is Event.RECORDED for entry in operation.entries):
        raise CatalogueError(f"image {task.image_id}: no store succeeded, so this is a failure")
    _activate(connection, task)
    _close(connection, task, operation, failed)


def fail(connection: Connection, task: Task, failed: Mapping[str, tuple[str, str]], left: Sequence[Leftover]) -> None:
    """Restore what `begin` saved. A task that never began has only its failures and leftovers to record."""
    operation = journal.find(connection, task)
    _check_failed(task, operation, failed)
    if operation is not None:
        _restore(connection, task, operation)
    _close(connection, task, operation, failed)
    save_leftovers(connection, task.image_id, left)


def begin_again(
    connection: Connection,
    task: Task,
    stores: Sequence[str],
    importing: bool,
    failed: Mapping[str, tuple[str, str]],
    leftovers: Sequence[Leftover],
    left: Mapping[str, str],
) -> None:
    fail(connection, task, failed, leftovers)
    journal.begin(connection, task, stores, importing)
    for store_id, trace in left.items():
        journal.opened(connection, task, store_id, trace)


def failures_of(connection: Connection, image_id: str) -> list[Failure]:
    rows = connection.execute(select(failures).where(failures.c.image_id == image_id).order_by(failures.c.store_id))
    return [Failure(row.store_id, row.error, row.message, row.at) for row in rows]


def save_leftovers(connection: Connection, image_id: str, left: Sequence[Leftover]) -> None:
    """A leftover met again, by a second attempt to remove it, is the same one with a newer reason."""
    columns = leftovers.c
    for item in left:
        same = (columns.image_id == image_id, columns.store_id == item.store_id, columns.trace == item.trace)
        connection.execute(delete(leftovers).where(*same))
        values = {"store_id": item.store_id, "trace": item.trace, "reason": readable(item.reason)}
        connection.execute(insert(leftovers).values(image_id=image_id, at=now(), **values))


def all_leftovers(connection: Connection) -> list[RecordedLeftover]:
    rows = connection.execute(select(leftovers).order_by(leftovers.c.id))
    return [RecordedLeftover(row.id, row.image_id, Leftover(row.store_id, row.trace, row.reason), row.at) for row in rows]


def remove_leftover(connection: Connection, number: int) -> bool:
    return connection.execute(delete(leftovers).where(leftovers.c.id == number)).rowcount > 0


def _record_location(connection: Connection, task: Task, location: Location) -> None:
    """Only a location that was not there before is this operation's to remove again."""
    journal.require(connection, task)
    if locations.add(connection, task.image_id, location):
        journal.recorded(connection, task, location)


def _activate(connection: Connection, task: Task) -> None:
    content = journal.require(connection, task).verified
    if content is None:
        raise CatalogueError(f"image {task.image_id}: its data has not been verified, so it can't become active")
    if not content.size:
        raise EmptyImage(f"image {task.image_id}: an image without data can't become active")
    image = images.get(connection, task.image_id)
    if image.status is Status.ACTIVE:
        content = _completed(image, content)
    images.stamp(connection, task.image_id, status=Status.ACTIVE.value, **asdict(content))
    found = journal.verified_fingerprints(connection, task)
    if found is not None and images.read_fingerprints(connection, task.image_id) is None:
        _save_fingerprints(connection, task.image_id, found)


def _completed(image: Image, found: Content) -> Content:
    """An active image keeps what it records, and gains what it lacks. Glance compares in the same way before each store."""
    same_algorithm = image.os_hash_value is not None and image.os_hash_algo == found.os_hash_algo
    pairs = {"size": (image.size, found.size), "checksum": (image.checksum, found.checksum)}
    if same_algorithm:
        pairs["os_hash_value"] = (image.os_hash_value, found.os_hash_value)
    for name, (recorded, actual) in pairs.items():
        if recorded is not None and actual is not None and recorded != actual:
            raise DigestMismatch(f"image {image.image_id}: {name} of the data is {actual}, but {recorded} is recorded")
    hashed = image if image.os_hash_value is not None else found
    return Content(
        size=image.size,
        virtual_size=found.virtual_size if image.virtual_size is None else image.virtual_size,
        checksum=image.checksum or found.checksum,
        os_hash_algo=hashed.os_hash_algo,
        os_hash_value=hashed.os_hash_value,
    )


def _save_fingerprints(connection: Connection, image_id: str, found: Fingerprints) -> None:
    connection.execute(insert(fingerprints).values(image_id=image_id, slot_size=found.slot_size, digests=found.digests))


def _restore(connection: Connection, task: Task, operation: Journal) -> None:
    for entry in operation.entries:
        if entry.event is Event.RECORDED and entry.location is not None:
            locations.remove(connection, task.image_id, entry.location)
    if not journal.had_fingerprints(connection, task):
        connection.execute(delete(fingerprints).where(fingerprints.c.image_id == task.image_id))
    images.stamp(connection, task.image_id, status=operation.earlier_status.value, **asdict(operation.earlier))


def _close(connection: Connection, task: Task, operation: Journal | None, failed: Mapping[str, tuple[str, str]]) -> None:
    """The ends that success and failure share: both lists, the reasons, the journal."""
    if operation is not None:
        locations.change_list(connection, task.image_id, IMPORTING_TO_STORES, remove=operation.stores)
    locations.change_list(connection, task.image_id, FAILED_IMPORT, add=failed)
    for store_id, (error, message) in failed.items():
        where = (failures.c.image_id == task.image_id, failures.c.store_id == store_id)
        connection.execute(delete(failures).where(*where))
        values = {"error": readable(error, NAME_LENGTH), "message": readable(message), "at": now()}
        connection.execute(insert(failures).values(image_id=task.image_id, store_id=store_id, **values))
    journal.close(connection, task)


def _check_failed(task: Task, operation: Journal | None, failed: Mapping[str, tuple[str, str]]) -> None:
    for store_id in failed:
        locations.check_store_id(store_id)
        if operation is not None and store_id not in operation.stores:
            raise InvalidRequest(
                f"image {task.image_id}: store {store_id!r} was not part of this operation, so it can't have failed"
            )
