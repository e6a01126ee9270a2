"""Records of images: what users name, read and annotate. What an operation changes is in `outcome`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, true, update

from glance_stream.catalogue import locations
from glance_stream.catalogue.tables import NAME_LENGTH, fingerprints, image_properties, images, now
from glance_stream.catalogue.text import check_text
from glance_stream.errors import ImageNotFound, InvalidRequest
from glance_stream.model import RESERVED_PREFIX, RESERVED_PROPERTY, Fingerprints, Image, Location, Status

# Statements are built once: to build one costs more than SQLite takes to run it.
_INSERT = insert(images)
INSERT_PROPERTIES = insert(image_properties)
_HOLD = select(images.c.id).where(images.c.id == bindparam("image")).with_for_update()
_RECORD = select(images).where(images.c.id == bindparam("image"))
_PROPERTIES = select(image_properties.c.name, image_properties.c.value).where(image_properties.c.image_id == bindparam("image"))
_STAMP = update(images).where(images.c.id == bindparam("image"))


def create(
    connection: Connection,
    image_id: str,
    record: Mapping[str, str | None],
    properties: Mapping[str, str],
    bookkeeping: Mapping[str, str] | None = None,
    *,
    status: Status = Status.QUEUED,
    fence: int = 0,
) -> Image:
    """Insert an image, a queued one unless said. A duplicate id meets the primary key. ``bookkeeping``: properties of ours."""
    _check_image_id(image_id)
    for field, value in record.items():
        if value is not None:
            check_text(field, value, getattr(images.c[field].type, "length", None))
    _check_properties(properties)
    moment = now()
    values = {"id": image_id, "status": status.value, "fence": fence, "created_at": moment, "updated_at": moment}
    connection.execute(_INSERT, {**values, **record})
    every = {**properties, **(bookkeeping or {})}
    if every:
        rows = [{"image_id": image_id, "name": name, "value": value} for name, value in every.items()]
        connection.execute(INSERT_PROPERTIES, rows)
    return _image(dict.fromkeys(images.c.keys()) | values | dict(record), (), every)


def hold(connection: Connection, image_id: str) -> None:
    """Until the transaction ends nobody else's gets past this point for the image. One without a record holds up nobody.

    On SQLite it is alone from its start.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_HOLD, {"image": image_id})


def get(connection: Connection, image_id: str) -> Image:
    chosen = {"image": image_id}
    row = connection.execute(_RECORD, chosen).first()
    if row is None:
        raise ImageNotFound(f"image {image_id} is not in the catalogue")
    properties = {one.name: one.value for one in connection.execute(_PROPERTIES, chosen)}
    return _image(row._mapping, locations.of_image(connection, image_id), properties)


def is_queued(connection: Connection, image_id: str) -> bool:
    return connection.execute(select(images.c.status).where(images.c.id == image_id)).scalar() == Status.QUEUED


def newest_first(connection: Connection) -> list[Image]:
    return _load(connection, true())


def forget(connection: Connection, image_id: str) -> None:
    """Delete the record and all that refers to it (ON DELETE CASCADE); leftovers stay."""
    if connection.execute(delete(images).where(images.c.id == image_id)).rowcount != 1:
        raise ImageNotFound(f"image {image_id} is not in the catalogue")


def change_properties(connection: Connection, image_id: str, additions: Mapping[str, str], removals: Iterable[str]) -> Image:
    """Set and remove users' properties. Removing one that is not there is refused, as a PATCH of Glance's API is."""
    gone = [removals] if isinstance(removals, str) else list(removals)
    _check_properties(additions)
    for name in gone:
        _check_property_name(name)
    if both := sorted(set(gone) & set(additions)):
        raise InvalidRequest(f"image {image_id}: property {both[0]!r} is both set and removed: do one")
    stamp(connection, image_id)
    for name in gone:
        where = (image_properties.c.image_id == image_id, image_properties.c.name == name)
        if connection.execute(delete(image_properties).where(*where)).rowcount != 1:
            raise InvalidRequest(f"image {image_id} has no property {name!r}")
    for name, value in additions.items():
        set_property(connection, image_id, name, value)
    return get(connection, image_id)


def set_property(connection: Connection, image_id: str, name: str, value: str) -> None:
    where = (image_properties.c.image_id == image_id, image_properties.c.name == name)
    if connection.execute(update(image_properties).where(*where).values(value=value)).rowcount == 0:
        connection.execute(insert(image_properties).values(image_id=image_id, name=name, value=value))


def stamp(connection: Connection, image_id: str, **values: Any) -> datetime:
    """Change columns of the record, and when it was last changed, which it returns."""
    moment = now()
    changed = connection.execute(_STAMP, {"image": image_id, "updated_at": moment, **values})
    if changed.rowcount != 1:
        raise ImageNotFound(f"image {image_id} is not in the catalogue")
    return moment


def read_fingerprints(connection: Connection, image_id: str) -> Fingerprints | None:
    columns = (fingerprints.c.slot_size, fingerprints.c.digests)
    row = connection.execute(select(*columns).where(fingerprints.c.image_id == image_id)).first()
    return None if row is None else Fingerprints(row.slot_size, row.digests)


def _load(connection: Connection, which: ColumnElement[bool]) -> list[Image]:
    """Three queries, however many images there are."""
    rows = connection.execute(select(images).where(which).order_by(images.c.created_at.desc(), images.c.id)).all()
    chosen = select(images.c.id).where(which)
    properties: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(select(image_properties).where(image_properties.c.image_id.in_(chosen))):
        properties[row.image_id][row.name] = row.value
    held: defaultdict[str, list[Location]] = defaultdict(list)
    for image_id, location in locations.of_images(connection, chosen):
        held[image_id].append(location)
    return [_image(row._mapping, tuple(held[row.id]), properties[row.id]) for row in rows]


def _image(row: Mapping[Any, Any], held: tuple[Location, ...], properties: Mapping[str, str]) -> Image:
    fields = {name: row[name] for name in row if name not in ("id", "status", "fence")}
    return Image(image_id=row["id"], status=Status(row["status"]), locations=held, properties=properties, **fields)


def _check_image_id(image_id: str) -> None:
    try:
        canonical = str(uuid.UUID(image_id)) == image_id
    except (ValueError, AttributeError, TypeError):
        canonical = False
    if not canonical:
        raise InvalidRequest(f"image id {image_id!r} is not a UUID in lower case with hyphens, as Glance's ids are")


def _check_properties(properties: Mapping[str, str]) -> None:
    for name, value in properties.items():
        _check_property_name(name)
        check_text(f"property {name!r}", value)


def _check_property_name(name: str) -> None:
    """`stores` is rendered from the locations and `os_glance*` is import bookkeeping (bugs 1889676, 1891352)."""
    check_text("a property's name", name, NAME_LENGTH)
    if name == RESERVED_PROPERTY or name.startswith(RESERVED_PREFIX):
        raise InvalidRequest(f"property {name!r} is read-only: it is written by imports alone")
    if not name:
        raise InvalidRequest("a property's name is empty")
