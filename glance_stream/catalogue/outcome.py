"""How operations end, and what their images are then: the only place where an image becomes active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, insert, select

from glance_stream.catalogue import images, journal, locations, locks
from glance_stream.catalogue.held import Held, require
from glance_stream.catalogue.journal import Content, Event, Journal
from glance_stream.catalogue.tables import NAME_LENGTH, failures, fingerprints, image_locations, leftovers, now, operations
from glance_stream.catalogue.tables import images as image_records
from glance_stream.catalogue.tasks import Task
from glance_stream.catalogue.text import readable
from glance_stream.errors import CatalogueError, DigestMismatch, EmptyImage, InvalidRequest, Leftover
from glance_stream.model import FAILED_IMPORT, IMPORT_TASK, IMPORTING_TO_STORES, Image, Location, Status

_DATA = select(
    image_records.c.status,
    image_records.c.size,
    exists().where(image_locations.c.image_id == image_records.c.id).label("is_somewhere"),
).where(image_records.c.id == bindparam("image"))
_HAS_FINGERPRINTS = exists().where(fingerprints.c.image_id == bindparam("image"))
_KEEP_FINGERPRINTS = insert(fingerprints).from_select(
    ["image_id", "slot_size", "digests"],
    select(bindparam("image", type_=fingerprints.c.image_id.type), operations.c.slot_size, operations.c.digests).where(
        operations.c.task_id == bindparam("held_by"), operations.c.digests.is_not(None), ~_HAS_FINGERPRINTS
    ),
)


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
    record = connection.execute(_DATA, {"image": image_id}).first()
    if record is None or record.status != Status.ACTIVE:
        return
    if not record.size or not record.is_somewhere:
        raise CatalogueError(f"image {image_id} would be active without data; nothing was changed")


def add_location(held: Held, location: Location, activate: bool) -> None:
    """Only a location that was not there before is this operation's to remove again."""
    connection, image = held.connection, images.get(held.connection, held.image_id)
    operation = journal.require(held)
    if locations.add(connection, held.image_id, image.locations, [location]):
        journal.recorded(held, location)
    before = locations.lists_of(image)
    after = {IMPORTING_TO_STORES: locations.changed(before.get(IMPORTING_TO_STORES), remove=[location.store_id])}
    locations.save_lists(connection, held.image_id, before, after)
    if activate:
        _activate(held, operation, image)
    else:
        images.stamp(connection, held.image_id)


def is_shown(held: Held, location: Location) -> bool:
    image = images.get(held.connection, held.image_id)
    return image.status is Status.ACTIVE and any(
        (one.store_id, one.url) == (location.store_id, location.url) for one in image.locations
    )


def remove_location(held: Held, location: Location) -> None:
    image = images.get(held.connection, held.image_id)
    if not locations.remove(held.connection, held.image_id, location):
        raise InvalidRequest(f"image {held.image_id} has no such location in store {location.store_id!r}")
    if image.status is Status.ACTIVE and len(image.locations) == 1:
        raise InvalidRequest(f"image {held.image_id}: {location.store_id!r} is the only store that holds it")
    journal.deleted(held, location)
    images.stamp(held.connection, held.image_id)


def succeed(held: Held, found: Sequence[Location], failed: Mapping[str, tuple[str, str]], release: bool) -> Image:
    """The image as it is recorded then. Its journal goes in the same transaction, so it is told of no location any more."""
    operation = journal.require(held)
    _check_failed(held.task, operation, failed)
    image = images.get(held.connection, held.image_id)
    added = locations.add(held.connection, held.image_id, image.locations, found)
    if not found and not any(entry.event is Event.RECORDED for entry in operation.entries):
        raise CatalogueError(f"image {held.image_id}: no store succeeded, so this is a failure")
    active = _activate(held, operation, image)
    lists = _save_lists_and_failures(held, operation, locations.lists_of(image), failed)
    properties = {**image.properties, **lists}
    if release:
        locks.drop(held.connection, held.task)
        properties.pop(IMPORT_TASK, None)
    else:
        journal.close(held.connection, held.task)
    return replace(active, locations=(*image.locations, *added), properties=properties)


def fail(held: Held, failed: Mapping[str, tuple[str, str]], left: Sequence[Leftover]) -> None:
    """Restore what `begin` saved. A task that never began has only its failures and leftovers to record."""
    operation = journal.of(held)
    _check_failed(held.task, operation, failed)
    if operation is not None:
        _restore(held, operation)
    _save_lists_and_failures(held, operation, locations.lists(held.connection, held.image_id), failed)
    journal.close(held.connection, held.task)
    save_leftovers(held.connection, held.image_id, left)


def begin_again(
    held: Held,
    stores: Sequence[str],
    importing: bool,
    failed: Mapping[str, tuple[str, str]],
    leftovers: Sequence[Leftover],
    left: Mapping[str, str],
) -> None:
    fail(held, failed, leftovers)
    journal.begin(require(held.connection, held.task), stores, importing)
    journal.opened(require(held.connection, held.task), left)


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


def _activate(held: Held, operation: Journal, image: Image) -> Image:
    """What the image's record says then. The fingerprints, of which there may be megabytes, never leave the database."""
    content = operation.verified
    if content is None:
        raise CatalogueError(f"image {held.image_id}: its data has not been verified, so it can't become active")
    if not content.size:
        raise EmptyImage(f"image {held.image_id}: an image without data can't become active")
    if image.status is Status.ACTIVE:
        content = _completed(image, content)
    values = asdict(content)
    moment = images.stamp(held.connection, held.image_id, status=Status.ACTIVE.value, **values)
    held.connection.execute(_KEEP_FINGERPRINTS, {"image": held.image_id, "held_by": held.task.id})
    return replace(image, status=Status.ACTIVE, updated_at=moment, **values)


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


def _restore(held: Held, operation: Journal) -> None:
    connection = held.connection
    for entry in operation.entries:
        if entry.event is Event.RECORDED and entry.location is not None:
            locations.remove(connection, held.image_id, entry.location)
    if not operation.earlier_fingerprints:
        connection.execute(delete(fingerprints).where(fingerprints.c.image_id == held.image_id))
    images.stamp(connection, held.image_id, status=operation.earlier_status.value, **asdict(operation.earlier))


def _save_lists_and_failures(
    held: Held, operation: Journal | None, before: Mapping[str, str], failed: Mapping[str, tuple[str, str]]
) -> dict[str, str]:
    """The ends that success and failure share: both lists, which it gives, and the reasons."""
    connection, image_id = held.connection, held.image_id
    after = {FAILED_IMPORT: locations.changed(before.get(FAILED_IMPORT), add=failed)}
    if operation is not None:
        after[IMPORTING_TO_STORES] = locations.changed(before.get(IMPORTING_TO_STORES), remove=operation.stores)
    locations.save_lists(connection, image_id, before, after)
    for store_id, (error, message) in failed.items():
        connection.execute(delete(failures).where(failures.c.image_id == image_id, failures.c.store_id == store_id))
        values = {"error": readable(error, NAME_LENGTH), "message": readable(message), "at": now()}
        connection.execute(insert(failures).values(image_id=image_id, store_id=store_id, **values))
    return after


def _check_failed(task: Task, operation: Journal | None, failed: Mapping[str, tuple[str, str]]) -> None:
    for store_id in failed:
        locations.check_store_id(store_id)
        if operation is not None and store_id not in operation.stores:
            raise InvalidRequest(
                f"image {task.image_id}: store {store_id!r} was not part of this operation, so it can't have failed"
            )
