"""The catalogue as plain SQL finds it, whatever the database: no code of the product reads it here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

LISTS = ("os_glance_importing_to_stores", "os_glance_failed_import")
LOCK = "os_glance_import_task"
# Rows of these exist only while an operation runs, or waits for recovery.
TRANSIENT = ("tasks", "operations", "journal")
TABLES = (
    "journal",
    "operations",
    "tasks",
    "failures",
    "leftovers",
    "fingerprints",
    "image_locations",
    "image_properties",
    "images",
)


@dataclass
class ImageRecord:
    """``locations``: store id -> URL."""

    status: str
    size: int | None
    os_hash_algo: str | None
    os_hash_value: str | None
    checksum: str | None
    locations: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


@dataclass
class Records:
    """All of a catalogue. ``leftovers``: image id, store id, trace, reason. ``rows``: how many each transient table has."""

    images: dict[str, ImageRecord]
    leftovers: list[tuple[str, str, str, str]]
    rows: dict[str, int]


DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}


class CatalogueView:
    """A connection of its own for each look: none is held while a victim works."""

    def __init__(self, url: str) -> None:
        scheme, colon, rest = url.partition(":")
        self._engine = create_engine(DRIVERS.get(scheme, scheme) + colon + rest, poolclass=NullPool)

    def read(self) -> Records:
        with self._connect() as connection:
            images = {
                row.id: ImageRecord(row.status, row.size, row.os_hash_algo, row.os_hash_value, row.checksum)
                for row in connection.execute(text("SELECT id, status, size, os_hash_algo, os_hash_value, checksum FROM images"))
            }
            for row in connection.execute(text("SELECT image_id, store_id, url FROM image_locations")):
                images[row.image_id].locations[row.store_id] = row.url
            for row in connection.execute(text("SELECT image_id, name, value FROM image_properties")):
                images[row.image_id].properties[row.name] = row.value
            found = connection.execute(text("SELECT image_id, store_id, trace, reason FROM leftovers ORDER BY id"))
            leftovers = [(row.image_id, row.store_id, row.trace, row.reason) for row in found]
            rows = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TRANSIENT}
        return Records(images, leftovers, rows)

    def empty(self) -> None:
        """Forget everything, for the next harness on the same server."""
        with self._connect() as connection:
            for name in TABLES:
                with contextlib.suppress(Exception):
                    connection.execute(text(f"DELETE FROM {name}"))
            connection.commit()

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()
