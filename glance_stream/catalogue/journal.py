"""What an operation has to undo if its process dies: the state before it, and each step that touches a store, before the step.

A row of ``operations`` lives from `begin` to the recording of the outcome; the journal's rows live as long. A deletion has no such
row: each of its steps lives in the journal from before the data is touched until the location is dropped, or known to be kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, update

from glance_stream.catalogue import images, locations, locks
from glance_stream.catalogue.held import Held
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

_CONTENT = ("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value")
_OPERATION = select(*(column for column in operations.c if column is not operations.c.digests)).where(  # which are megabytes
    operations.c.task_id == bindparam("held_by")
)
_ENTRIES = select(entries).where(entries.c.task_id == bindparam("held_by")).order_by(entries.c.id)
_APPEND = insert(entries)
_VERIFY = update(operations).where(operations.c.task_id == bindparam("held_by"))
_BEGIN = insert(operations)
_EARLIER = select(
    image_records.c.status,
    *(image_records.c[name] for name in _CONTENT),
    exists().where(fingerprints.c.image_id == image_records.c.id).label("fingerprints"),
).where(image_records.c.id == bindparam("image"))


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
    earlier_fingerprints: bool
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


def begin(held: Held, stores: Sequence[str], importing: bool) -> None:
    """Save the state before, then say in Glance's properties what is about to happen."""
    check_request(stores)
    connection, image_id = held.connection, held.image_id
    if held.operation is not None:
        raise CatalogueError(f"image {image_id}: task {held.task.id} has begun already")
    wanted = Status.QUEUED if importing else Status.ACTIVE
    if held.status != wanted:
        raise InvalidRequest(f"image {image_id} is {held.status}; this needs an image that is {wanted}")
    earlier = connection.execute(_EARLIER, {"image": image_id}).one()._mapping
    values = {"task_id": held.task.id, "stores": locations.joined(stores), "importing": importing}
    connection.execute(_BEGIN, {**values, **{f"earlier_{name}": value for name, value in earlier.items()}})
    if importing:
        images.stamp(connection, image_id, status=Status.IMPORTING.value)
    before = locations.lists(connection, image_id)
    after = {
        IMPORTING_TO_STORES: locations.changed(before.get(IMPORTING_TO_STORES), add=stores),
        FAILED_IMPORT: locations.changed(before.get(FAILED_IMPORT), remove=stores),
    }
    locations.save_lists(connection, image_id, before, after)
    connection.execute(delete(failures).where(failures.c.image_id == image_id, failures.c.store_id.in_(stores)))


def begin_new(connection: Connection, task: Task, stores: Sequence[str]) -> None:
    """`begin` of an import whose image is created in the same transaction, importing and with its lists."""
    values = {"task_id": task.id, "stores": locations.joined(stores), "importing": True}
    earlier = {"earlier_status": Status.QUEUED.value, "earlier_fingerprints": False}
    connection.execute(_BEGIN, {**values, **earlier})


def opened(held: Held, traces: Mapping[str, str]) -> None:
    for trace in traces.values():
        check_text("a trace", trace)
    _append(held, Event.OPENED, *({"store_id": store_id, "trace": trace} for store_id, trace in traces.items()))


def flushed(held: Held, store_id: str, trace: str) -> None:
    _append(held, Event.FLUSHED, {"store_id": store_id, "trace": trace})


def adopting(held: Held, store_id: str, trace: str) -> None:
    _append(held, Event.ADOPTING, {"store_id": store_id, "trace": trace})


def committed(held: Held, *found: Location) -> None:
    _append(held, Event.COMMITTED, *map(locations.as_row, found))


def recorded(held: Held, location: Location) -> None:
    _append(held, Event.RECORDED, locations.as_row(location))


def deleting(held: Held, location: Location, whole_image: bool) -> None:
    if held.operation is not None:
        raise CatalogueError(f"image {held.image_id}: task {held.task.id} is writing data, so it can't delete any")
    event = Event.DELETING_IMAGE if whole_image else Event.DELETING
    values = locations.as_row(location)
    held.connection.execute(insert(entries).values(task_id=held.task.id, event=event.value, at=now(), **values))


def deleted(held: Held, location: Location) -> None:
    """Or known not to be: either way nothing is left to find out about it."""
    where = (entries.c.task_id == held.task.id, entries.c.store_id == location.store_id, entries.c.url == location.url)
    held.connection.execute(delete(entries).where(*where, entries.c.event.in_(DELETIONS)))


def find_deletion(connection: Connection, task: Task) -> Deletion | None:
    chosen = select(entries).where(entries.c.task_id == task.id, entries.c.event.in_(DELETIONS)).order_by(entries.c.id)
    steps = [_entry(row) for row in connection.execute(chosen)]
    if not steps:
        return None
    found = tuple(step.location for step in steps if step.location is not None)
    return Deletion(found, whole_image=any(step.event is Event.DELETING_IMAGE for step in steps))


def verified(held: Held, content: Content, found: Fingerprints | None) -> None:
    """Keep what the stream turned out to be. Nothing shows on the image before a location does."""
    require_begun(held)
    if not content.size:
        raise EmptyImage(f"image {held.image_id}: the source has no data")
    values: dict[str, Any] = {f"verified_{name}": value for name, value in asdict(content).items()}
    if found is not None:
        values |= {"slot_size": found.slot_size, "digests": found.digests}
    held.connection.execute(_VERIFY, {"held_by": held.task.id, **values})


def read(held: Held, beginning: Beginning) -> None:
    """Until the stream is verified: then the fingerprints are the image's."""
    require_begun(held)
    source = json.dumps({"name": beginning.name, "size": beginning.size, "validator": beginning.validator})
    found = beginning.fingerprints
    values = {"source": source, "slot_size": found.slot_size, "digests": found.digests}
    unverified = (operations.c.task_id == held.task.id, operations.c.verified_size.is_(None))
    held.connection.execute(update(operations).where(*unverified).values(values))


def beginning(connection: Connection, task: Task) -> Beginning | None:
    columns = (operations.c.source, operations.c.slot_size, operations.c.digests)
    row = connection.execute(select(*columns).where(operations.c.task_id == task.id)).first()
    if row is None or row.source is None or row.digests is None:
        return None
    return Beginning(**json.loads(row.source), fingerprints=Fingerprints(row.slot_size, row.digests))


def find(connection: Connection, task: Task) -> Journal | None:
    """Of any task."""
    row = connection.execute(_OPERATION, {"held_by": task.id}).first()
    return None if row is None else _journal(connection, row)


def of(held: Held) -> Journal | None:
    return None if held.operation is None else _journal(held.connection, held.operation)


def is_open(held: Held) -> bool:
    return held.operation is not None


def require_begun(held: Held) -> Row[Any]:
    if held.operation is None:
        raise CatalogueError(f"image {held.image_id}: task {held.task.id} has not begun, or its outcome is recorded already")
    return held.operation


def require(held: Held) -> Journal:
    return _journal(held.connection, require_begun(held))


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


def check_request(stores: Sequence[str]) -> None:
    """What Glance accepts, and then never ends: no stores, or one twice (bug 1863879 and its kin)."""
    if isinstance(stores, str):
        raise InvalidRequest("the stores must be a list of ids, not one text")
    for store_id in stores:
        locations.check_store_id(store_id)
    if not stores:
        raise InvalidRequest("no store is named")
    if len(set(stores)) != len(stores):
        raise InvalidRequest("a store is named twice")


def _append(held: Held, event: Event, *rows: dict[str, str]) -> None:
    """All rows at once; they have the same columns."""
    known = locations.split(require_begun(held).stores)
    for row in rows:
        if row["store_id"] not in known:
            raise InvalidRequest(
                f"image {held.image_id}: store {row['store_id']!r} is not one of those that this operation began with"
            )
    same = {"task_id": held.task.id, "event": event.value, "at": now()}
    held.connection.execute(_APPEND, [{**same, **row} for row in rows])


def _journal(connection: Connection, row: Row[Any]) -> Journal:
    steps = connection.execute(_ENTRIES, {"held_by": row.task_id})
    content = _content(row, "verified_")
    return Journal(
        stores=tuple(sorted(locations.split(row.stores))),
        importing=row.importing,
        earlier_status=Status(row.earlier_status),
        earlier=_content(row, "earlier_"),
        earlier_fingerprints=row.earlier_fingerprints,
        verified=None if content.size is None else content,
        entries=tuple(_entry(step) for step in steps),
    )


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
