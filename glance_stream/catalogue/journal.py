"""What an operation has to undo if its process dies: the state before it, and each step that touches a store, before the step.

A row of ``operations`` lives from `begin` to the recording of the outcome; the journal's rows live as long. A deletion has no such
row: each of its steps lives in the journal from before the data is touched until the location is dropped, or known to be kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, select, update

from glance_stream.catalogue import images, locations, locks
from glance_stream.catalogue.tables import failures, fingerprints, now, operations
from glance_stream.catalogue.tables import images as image_records
from glance_stream.catalogue.tables import journal as entries
from glance_stream.catalogue.tasks import Task
from glance_stream.catalogue.text import check_text
from glance_stream.errors import CatalogueError, EmptyImage, InvalidRequest
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Beginning, Fingerprints, Image, Location, Status


class Event(StrEnum):
    """The steps of one store."""

    OPENED = "opened"  # a writer exists; its trace says what it may leave behind
    ADOPTING = "adopting"  # an object is there that is not ours: it may become the image's, and an undo leaves it alone
    FLUSHED = "flushed"  # best effort: the store holds the whole stream and is going to be asked to commit
    COMMITTED = "committed"  # the object is visible in the store
    RECORDED = "recorded"  # this operation has added the location to the image
    DELETING = "deleting"  # the data is about to be deleted from this store, and stays in the others
    DELETING_IMAGE = "deleting image"  # the same, with every store's data and the record to follow


DELETIONS = (Event.DELETING.value, Event.DELETING_IMAGE.value)


@dataclass(frozen=True)
class Content:
    """What an image's bytes are known by."""

    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None


@dataclass(frozen=True)
class Entry:
    """One row of the journal: ``trace`` when opened, adopting or flushed, ``location`` in every other."""

    store_id: str
    event: Event
    trace: str | None
    location: Location | None
    at: datetime


@dataclass(frozen=True)
class Journal:
    """An operation that has begun and has no outcome yet. ``verified`` is None before the whole stream agreed."""

    stores: tuple[str, ...]
    importing: bool
    earlier_status: Status
    earlier: Content
    verified: Content | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Deletion:
    """Locations whose data may be deleted and whose record is still there. ``whole_image``: the record was to go with the last."""

    locations: tuple[Location, ...]
    whole_image: bool


@dataclass(frozen=True)
class Interrupted:
    """A locked image. ``journal`` is None when the holder had not begun, or had recorded its outcome but not let go.

    ``deletion`` is None when the holder had not set about deleting data, or had recorded of all of it whether it is gone.
    """

    image: Image
    task: Task
    journal: Journal | None
    deletion: Deletion | None = None


def begin(connection: Connection, task: Task, stores: Sequence[str], importing: bool) -> None:
    """Save the state before, then say in Glance's properties what is about to happen."""
    _check_request(stores)
    if _row(connection, task) is not None:
        raise CatalogueError(f"image {task.image_id}: task {task.id} has begun already")
    record = connection.execute(select(image_records).where(image_records.c.id == task.image_id)).one()
    wanted = Status.QUEUED if importing else Status.ACTIVE
    if record.status != wanted:
        raise InvalidRequest(f"image {task.image_id} is {record.status}; this needs an image that is {wanted}")
    _insert_operation(connection, task, stores, importing, record)
    if importing:
        images.stamp(connection, task.image_id, status=Status.IMPORTING.value)
    locations.change_list(connection, task.image_id, IMPORTING_TO_STORES, add=stores)
    locations.change_list(connection, task.image_id, FAILED_IMPORT, remove=stores)
    connection.execute(delete(failures).where(failures.c.image_id == task.image_id, failures.c.store_id.in_(stores)))


def opened(connection: Connection, task: Task, store_id: str, trace: str) -> None:
    check_text("a trace", trace)
    _append(connection, task, Event.OPENED, store_id=store_id, trace=trace)


def flushed(connection: Connection, task: Task, store_id: str, trace: str) -> None:
    _append(connection, task, Event.FLUSHED, store_id=store_id, trace=trace)


def adopting(connection: Connection, task: Task, store_id: str, trace: str) -> None:
    _append(connection, task, Event.ADOPTING, store_id=store_id, trace=trace)


def committed(connection: Connection, task: Task, location: Location) -> None:
    _append(connection, task, Event.COMMITTED, **locations.as_row(location))


def recorded(connection: Connection, task: Task, location: Location) -> None:
    _append(connection, task, Event.RECORDED, **locations.as_row(location))


def deleting(connection: Connection, task: Task, location: Location, whole_image: bool) -> None:
    if find(connection, task) is not None:
        raise CatalogueError(f"image {task.image_id}: task {task.id} is writing data, so it can't delete any")
    event = Event.DELETING_IMAGE if whole_image else Event.DELETING
    values = locations.as_row(location)
    connection.execute(insert(entries).values(task_id=task.id, event=event.value, at=now(), **values))


def deleted(connection: Connection, task: Task, location: Location) -> None:
    """Or known not to be: either way nothing is left to find out about it."""
    where = (entries.c.task_id == task.id, entries.c.store_id == location.store_id, entries.c.url == location.url)
    connection.execute(delete(entries).where(*where, entries.c.event.in_(DELETIONS)))


def find_deletion(connection: Connection, task: Task) -> Deletion | None:
    chosen = select(entries).where(entries.c.task_id == task.id, entries.c.event.in_(DELETIONS)).order_by(entries.c.id)
    steps = [_entry(row) for row in connection.execute(chosen)]
    if not steps:
        return None
    found = tuple(step.location for step in steps if step.location is not None)
    return Deletion(found, whole_image=any(step.event is Event.DELETING_IMAGE for step in steps))


def verified(connection: Connection, task: Task, content: Content, found: Fingerprints | None) -> None:
    """Keep what the stream turned out to be. Nothing shows on the image before a location does."""
    require(connection, task)
    if not content.size:
        raise EmptyImage(f"image {task.image_id}: the source has no data")
    values: dict[str, Any] = {f"verified_{name}": value for name, value in asdict(content).items()}
    if found is not None:
        values |= {"slot_size": found.slot_size, "digests": found.digests}
    connection.execute(update(operations).where(operations.c.task_id == task.id).values(values))


def read(connection: Connection, task: Task, beginning: Beginning) -> None:
    """Until the stream is verified: then the fingerprints are the image's."""
    require(connection, task)
    source = json.dumps({"name": beginning.name, "size": beginning.size, "validator": beginning.validator})
    found = beginning.fingerprints
    values = {"source": source, "slot_size": found.slot_size, "digests": found.digests}
    connection.execute(
        update(operations).where(operations.c.task_id == task.id, operations.c.verified_size.is_(None)).values(values)
    )


def beginning(connection: Connection, task: Task) -> Beginning | None:
    columns = (operations.c.source, operations.c.slot_size, operations.c.digests)
    row = connection.execute(select(*columns).where(operations.c.task_id == task.id)).first()
    if row is None or row.source is None or row.digests is None:
        return None
    return Beginning(**json.loads(row.source), fingerprints=Fingerprints(row.slot_size, row.digests))


def verified_fingerprints(connection: Connection, task: Task) -> Fingerprints | None:
    columns = (operations.c.slot_size, operations.c.digests)
    row = connection.execute(select(*columns).where(operations.c.task_id == task.id)).one()
    return None if row.digests is None else Fingerprints(row.slot_size, row.digests)


def had_fingerprints(connection: Connection, task: Task) -> bool:
    """Whether the image had some before this operation."""
    return bool(connection.execute(select(operations.c.earlier_fingerprints).where(operations.c.task_id == task.id)).scalar())


def find(connection: Connection, task: Task) -> Journal | None:
    row = _row(connection, task)
    if row is None:
        return None
    steps = connection.execute(select(entries).where(entries.c.task_id == task.id).order_by(entries.c.id))
    content = _content(row, "verified_")
    return Journal(
        stores=tuple(sorted(locations.split(row.stores))),
        importing=row.importing,
        earlier_status=Status(row.earlier_status),
        earlier=_content(row, "earlier_"),
        verified=None if content.size is None else content,
        entries=tuple(_entry(step) for step in steps),
    )


def require(connection: Connection, task: Task) -> Journal:
    found = find(connection, task)
    if found is None:
        raise CatalogueError(f"image {task.image_id}: task {task.id} has not begun, or its outcome is recorded already")
    return found


def close(connection: Connection, task: Task) -> None:
    """The outcome is recorded: nothing is left to undo."""
    connection.execute(delete(entries).where(entries.c.task_id == task.id))
    connection.execute(delete(operations).where(operations.c.task_id == task.id))


def interrupted(connection: Connection) -> list[Interrupted]:
    return [_interrupted(connection, task) for task in locks.holders(connection)]


def interruption(connection: Connection, image_id: str) -> Interrupted | None:
    task = locks.holder(connection, image_id)
    return None if task is None else _interrupted(connection, task)


def _interrupted(connection: Connection, task: Task) -> Interrupted:
    image = images.get(connection, task.image_id)
    return Interrupted(image, task, find(connection, task), find_deletion(connection, task))


def _check_request(stores: Sequence[str]) -> None:
    """What Glance accepts, and then never ends: no stores, or one twice (bug 1863879 and its kin)."""
    if isinstance(stores, str):
        raise InvalidRequest("the stores must be a list of ids, not one text")
    for store_id in stores:
        locations.check_store_id(store_id)
    if not stores:
        raise InvalidRequest("no store is named")
    if len(set(stores)) != len(stores):
        raise InvalidRequest("a store is named twice")


def _insert_operation(connection: Connection, task: Task, stores: Sequence[str], importing: bool, record: Row[Any]) -> None:
    had = select(exists().where(fingerprints.c.image_id == task.image_id))
    connection.execute(
        insert(operations).values(
            task_id=task.id,
            stores=locations.joined(stores),
            importing=importing,
            earlier_status=record.status,
            earlier_fingerprints=bool(connection.execute(had).scalar()),
            **{f"earlier_{name}": value for name, value in asdict(_content(record)).items()},
        )
    )


def _append(connection: Connection, task: Task, event: Event, **values: str) -> None:
    store_id = values["store_id"]
    if store_id not in require(connection, task).stores:
        raise InvalidRequest(f"image {task.image_id}: store {store_id!r} is not one of those that this operation began with")
    connection.execute(insert(entries).values(task_id=task.id, event=event.value, at=now(), **values))


def _row(connection: Connection, task: Task) -> Row[Any] | None:
    """Without the megabytes of fingerprints."""
    columns = [column for column in operations.c if column is not operations.c.digests]
    return connection.execute(select(*columns).where(operations.c.task_id == task.id)).first()


def _content(row: Row[Any], prefix: str = "") -> Content:
    values = row._mapping
    return Content(
        size=values[f"{prefix}size"],
        virtual_size=values[f"{prefix}virtual_size"],
        checksum=values[f"{prefix}checksum"],
        os_hash_algo=values[f"{prefix}os_hash_algo"],
        os_hash_value=values[f"{prefix}os_hash_value"],
    )


def _entry(row: Row[Any]) -> Entry:
    location = None if row.url is None else locations.from_row(row)
    return Entry(row.store_id, Event(row.event), row.trace, location, row.at)
