"""Which version of the schema a database has, and the way from there to the one that this program works with.

A new database is created as it is now; an old one is migrated; one that a newer program has migrated is refused. One that is
current is not written to, so that a catalogue on read-only media, or a standby server, can be read.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select, update

from glance_stream.catalogue import migrations
from glance_stream.catalogue.tables import EXACT_TEXT, schema
from glance_stream.errors import InvalidRequest

# Recorded before the first table is made and replaced after the last: MariaDB may keep some of them if this process dies.
UNFINISHED = "new"

# What a catalogue of version 0.1.0 has, which recorded nothing.
UNVERSIONED = frozenset(
    ["images", "image_properties", "image_locations", "fingerprints", "tasks", "operations", "journal", "failures", "leftovers"]
)

# Alembic's own table, as alembic makes it.
recorded = Table(migrations.TABLE, MetaData(), Column("version_num", String(32), primary_key=True), **EXACT_TEXT)


def find(connection: Connection, name: str) -> str | None:
    """The recorded version, '' for an empty database. Raises InvalidRequest for a database that is not ours, or too new."""
    tables = set(inspect(connection).get_table_names())
    if recorded.name not in tables:
        if tables >= UNVERSIONED:
            return migrations.BASELINE
        if found := sorted(tables & set(schema.tables)):
            raise InvalidRequest(
                f"catalogue {name}: it has a table {found[0]!r} of another program; give the catalogue a database of its own"
            )
        return ""
    version = str(connection.execute(select(recorded.c.version_num)).scalar() or "")
    if version in ("", UNFINISHED) or version <= migrations.HEAD:
        return version
    if version.isdecimal() and len(version) == len(migrations.HEAD):
        raise InvalidRequest(
            f"catalogue {name}: its schema is {version} and this program knows it up to {migrations.HEAD}: "
            "it was migrated by a newer glance-stream; use that one"
        )
    raise InvalidRequest(f"catalogue {name}: its schema {version!r} is another program's; give the catalogue a database of its own")


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Create or migrate, as is needed by now. The caller sees to it that nobody else does."""
    version = find(connection, name)
    if version in ("", UNFINISHED):
        _create(connection)
    elif version != migrations.HEAD:
        if not inspect(connection).has_table(recorded.name):
            recorded.create(connection)
            connection.execute(insert(recorded).values(version_num=version))
        migrations.upgrade(connection)


def _create(connection: Connection) -> None:
    recorded.create(connection, checkfirst=True)
    if connection.execute(select(recorded.c.version_num)).first() is None:
        connection.execute(insert(recorded).values(version_num=UNFINISHED))
    schema.create_all(connection)
    connection.execute(update(recorded).values(version_num=migrations.HEAD))
