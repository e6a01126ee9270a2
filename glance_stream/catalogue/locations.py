"""Rows of locations, and the two lists of stores that Glance keeps as properties."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, or_, select, update

from glance_stream.catalogue.tables import NAME_LENGTH, image_locations, image_properties
from glance_stream.catalogue.text import check_text
from glance_stream.errors import InvalidRequest
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Image, Location

_INSERT = insert(image_locations)
_OF_IMAGE = select(image_locations).where(image_locations.c.image_id == bindparam("image")).order_by(image_locations.c.id)
_SET_LIST = update(image_properties).where(
    image_properties.c.image_id == bindparam("image"), image_properties.c.name == bindparam("list")
)
_LISTS = select(image_properties.c.name, image_properties.c.value).where(
    image_properties.c.image_id == bindparam("image"), image_properties.c.name.in_([IMPORTING_TO_STORES, FAILED_IMPORT])
)


def of_images(connection: Connection, chosen: Select[tuple[str]]) -> Iterator[tuple[str, Location]]:
    """Image id and location, in the order in which they were added."""
    columns = image_locations.c
    for row in connection.execute(select(image_locations).where(columns.image_id.in_(chosen)).order_by(columns.id)):
        yield row.image_id, from_row(row)


def of_image(connection: Connection, image_id: str) -> tuple[Location, ...]:
    return tuple(from_row(row) for row in connection.execute(_OF_IMAGE, {"image": image_id}))


def add(connection: Connection, image_id: str, recorded: Iterable[Location], found: Iterable[Location]) -> list[Location]:
    """Those of ``found`` that were added: one that is ``recorded`` already is left as it is."""
    known = {(one.url, one.store_id) for one in recorded}
    rows = []
    for row in map(as_row, found):
        if (key := (row["url"], row["store_id"])) not in known:
            known.add(key)
            rows.append(row)
    if rows:
        connection.execute(_INSERT, [{"image_id": image_id, **row} for row in rows])
    return [Location(row["url"], row["store_id"], json.loads(row["metadata"])) for row in rows]


def remove(connection: Connection, image_id: str, location: Location) -> bool:
    """Whether it was there."""
    return connection.execute(delete(image_locations).where(*_is(image_id, location))).rowcount > 0


def resolve(connection: Connection, image_id: str, url: str, store_id: str, old_store_id: str) -> bool:
    """Give a location its store, once (bug 1886374: Glance looked it up on every read)."""
    check_store_id(store_id)
    legacy = _is(image_id, Location(url, old_store_id))
    if connection.execute(select(image_locations.c.id).where(*_is(image_id, Location(url, store_id)))).first() is not None:
        return connection.execute(delete(image_locations).where(*legacy)).rowcount > 0
    return connection.execute(update(image_locations).where(*legacy).values(store_id=store_id)).rowcount > 0


def urls_in(connection: Connection, store_id: str, others: Collection[str]) -> list[str]:
    """Of locations that are recorded in this store, or in none of the others: see `resolve`."""
    columns = image_locations.c
    chosen = or_(columns.store_id == store_id, columns.store_id.not_in(others))
    return list(connection.execute(select(columns.url).where(chosen)).scalars())


def as_row(location: Location) -> dict[str, str]:
    """The columns that `locations` and `journal` share."""
    if location.store_id:
        check_store_id(location.store_id)
    check_text("a location's URL", location.url)
    metadata = dict(location.metadata)
    _check_metadata(metadata)
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    return {"store_id": location.store_id, "url": location.url, "metadata": text}


def from_row(row: Row[Any]) -> Location:
    return Location(row.url, row.store_id, json.loads(row.metadata))


def check_store_id(store_id: str) -> None:
    """Ids stand comma-joined in Glance's properties."""
    check_text("a store id", store_id, NAME_LENGTH)
    if not store_id or "," in store_id:
        raise InvalidRequest(f"store id {store_id!r} must not be empty or hold a comma")


def joined(stores: Iterable[str]) -> str:
    """A list of stores as Glance writes it: sorted, '' when empty."""
    return ",".join(sorted(set(stores)))


def split(value: str) -> set[str]:
    return set(value.split(",")) - {""}


def changed(before: str | None, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> str:
    """One of the lists of stores as it is to be."""
    return joined((split(before or "") | set(add)) - set(remove))


def save_lists(connection: Connection, image_id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """The lists of stores, by property. Once created a property stays, '' when empty, as in Glance."""
    created = [{"image_id": image_id, "name": name, "value": value} for name, value in after.items() if name not in before]
    if created:
        connection.execute(insert(image_properties), created)
    for name, value in after.items():
        if before.get(name, value) != value:
            connection.execute(_SET_LIST, {"image": image_id, "list": name, "value": value})


def lists_of(image: Image) -> dict[str, str]:
    return {name: image.properties[name] for name in (IMPORTING_TO_STORES, FAILED_IMPORT) if name in image.properties}


def lists(connection: Connection, image_id: str) -> dict[str, str]:
    """The lists of stores that the image has, by property."""
    return {row.name: row.value for row in connection.execute(_LISTS, {"image": image_id})}


def _is(image_id: str, location: Location) -> tuple[Any, Any, Any]:
    columns = image_locations.c
    return columns.image_id == image_id, columns.url == location.url, columns.store_id == location.store_id


def _check_metadata(value: object) -> None:
    """What glance_store allows: str, or lists and dicts of it (bug 1861501)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_metadata(key)
            _check_metadata(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_metadata(inner)
    elif not isinstance(value, str):
        raise InvalidRequest(f"a location's metadata must be text, lists and dicts of text, not {type(value).__name__}")
