"""Rows of locations, and the two lists of stores that Glance keeps as properties."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, or_, select, update

from glance_stream.catalogue.tables import NAME_LENGTH, image_locations, image_properties
from glance_stream.catalogue.text import check_text
from glance_stream.errors import InvalidRequest
from glance_stream.model import Location


def of_images(connection: Connection, chosen: Select[tuple[str]]) -> Iterator[tuple[str, Location]]:
    """Image id and location, in the order in which they were added."""
    columns = image_locations.c
    for row in connection.execute(select(image_locations).where(columns.image_id.in_(chosen)).order_by(columns.id)):
        yield row.image_id, from_row(row)


def add(connection: Connection, image_id: str, location: Location) -> bool:
    """Whether it was added: one that is recorded already is left as it is."""
    values = as_row(location)
    if connection.execute(select(image_locations.c.id).where(*_is(image_id, location))).first() is not None:
        return False
    connection.execute(insert(image_locations).values(image_id=image_id, **values))
    return True


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


def any_of(connection: Connection, image_id: str) -> bool:
    return connection.execute(select(image_locations.c.id).where(image_locations.c.image_id == image_id)).first() is not None


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


def change_list(connection: Connection, image_id: str, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Change one of the lists of stores. Once created the property stays, '' when empty, as in Glance."""
    where = (image_properties.c.image_id == image_id, image_properties.c.name == name)
    before = connection.execute(select(image_properties.c.value).where(*where)).scalar()
    after = joined((split(before or "") | set(add)) - set(remove))
    if before is None:
        connection.execute(insert(image_properties).values(image_id=image_id, name=name, value=after))
    elif before != after:
        connection.execute(update(image_properties).where(*where).values(value=after))


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
