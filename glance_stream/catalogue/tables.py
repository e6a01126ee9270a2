"""The catalogue's tables, in types that SQLite, PostgreSQL and MariaDB share.

``images``, ``image_properties`` and ``image_locations`` hold what Glance's tables of the same names hold. The others are ours:
``tasks`` says who holds a lock, ``operations`` and ``journal`` what that holder has to undo if it dies, ``failures`` and
``leftovers`` what went wrong, ``fingerprints`` the per-slot digests, apart because an image has megabytes of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

ID_LENGTH = 36
NAME_LENGTH = 255
MESSAGE_LENGTH = 1000
# 16 bytes a slot: 4 MiB for an image of 1 TiB in slots of 4 MiB. MariaDB picks the type from this: a plain BLOB ends at 64 KiB.
FINGERPRINTS_LENGTH = 1 << 30

# Ids and names differ by case and by trailing spaces; the default collations of MariaDB take such names for the same.
EXACT_TEXT: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: aware in Python, naive in the database, because only PostgreSQL keeps a time zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects.mysql import DATETIME  # only there do whole seconds need to be asked not to be the limit

            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def image_id_column(**options: Any) -> Column[str]:
    """The reference to an image; the row goes when the image's record goes."""
    key = ForeignKey("images.id", ondelete="CASCADE")
    return Column("image_id", String(ID_LENGTH), key, nullable=False, **options)


def task_id_column(**options: Any) -> Column[str]:
    key = ForeignKey("tasks.id", ondelete="CASCADE")
    return Column("task_id", String(ID_LENGTH), key, nullable=False, **options)


def content_columns(prefix: str = "") -> list[Column[Any]]:
    """What an image's bytes are known by: its size and digests, with Glance's lengths."""
    return [
        Column(f"{prefix}size", BigInteger),
        Column(f"{prefix}virtual_size", BigInteger),
        Column(f"{prefix}checksum", String(32)),
        Column(f"{prefix}os_hash_algo", String(64)),
        Column(f"{prefix}os_hash_value", String(128)),
    ]


# Constraints have names, without which no later migration can change them on every database.
schema = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

images = Table(
    "images",
    schema,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("status", String(30), nullable=False),
    Column("name", String(NAME_LENGTH)),
    Column("disk_format", String(20)),
    Column("container_format", String(20)),
    *content_columns(),
    Column("fence", BigInteger, nullable=False, server_default="0"),  # how often its lock was taken
    Column("created_at", Instant, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
    # The half of "active implies data" that a CHECK can say. That there is a location is checked in `outcome.require_data`.
    CheckConstraint("status <> 'active' OR (size IS NOT NULL AND size > 0)", name="active_has_size"),
    **EXACT_TEXT,
)

image_properties = Table(
    "image_properties",
    schema,
    Column("id", Integer, primary_key=True),
    image_id_column(),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("image_id", "name"),  # the import lock rests on it, as Glance's does (bug 1884596)
    **EXACT_TEXT,
)

image_locations = Table(
    "image_locations",
    schema,
    Column("id", Integer, primary_key=True),
    image_id_column(index=True),
    Column("store_id", String(NAME_LENGTH), nullable=False),  # '' in a record from before stores had ids (bug 1886374)
    Column("url", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    **EXACT_TEXT,
)

fingerprints = Table(
    "fingerprints",
    schema,
    image_id_column(primary_key=True),
    Column("slot_size", BigInteger, nullable=False),
    Column("digests", LargeBinary(FINGERPRINTS_LENGTH), nullable=False),
    **EXACT_TEXT,
)

tasks = Table(
    "tasks",
    schema,
    Column("id", String(ID_LENGTH), primary_key=True),
    image_id_column(index=True),
    Column("operation", String(20), nullable=False),
    Column("host", String(NAME_LENGTH), nullable=False),
    Column("machine_id", String(64), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid_namespace", String(64), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process_started", BigInteger, nullable=False),
    # The database's own times (`clock`), which the hosts' clocks have no part in.
    Column("started_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("message", String(MESSAGE_LENGTH), nullable=False),
    Column("fence", BigInteger, nullable=False, server_default="0"),  # the image's, when this task took the lock
    Column("expires_at", Instant, nullable=False, server_default="1970-01-01 00:00:00"),
    Column("progress", Text),  # JSON
    **EXACT_TEXT,
)

# One row from `begin` to `record_success` or `record_failure`: the state before, and what the pass has verified since.
operations = Table(
    "operations",
    schema,
    task_id_column(primary_key=True),
    Column("stores", Text, nullable=False),  # comma-joined, as in the properties
    Column("importing", Boolean, nullable=False),
    Column("earlier_status", String(30), nullable=False),
    *content_columns("earlier_"),
    Column("earlier_fingerprints", Boolean, nullable=False),
    *content_columns("verified_"),
    Column("slot_size", BigInteger),
    Column("digests", LargeBinary(FINGERPRINTS_LENGTH)),
    Column("source", Text),  # JSON: what the digests are of, as long as nothing is verified
    **EXACT_TEXT,
)

# Append-only: a store opened twice leaves both traces to look after.
journal = Table(
    "journal",
    schema,
    Column("id", Integer, primary_key=True),
    task_id_column(index=True),
    Column("store_id", String(NAME_LENGTH), nullable=False),
    Column("event", String(20), nullable=False),
    Column("trace", Text),
    Column("url", Text),
    Column("metadata", Text),
    Column("at", Instant, nullable=False),
    **EXACT_TEXT,
)

failures = Table(
    "failures",
    schema,
    image_id_column(primary_key=True),
    Column("store_id", String(NAME_LENGTH), primary_key=True),
    Column("error", String(NAME_LENGTH), nullable=False),
    Column("message", Text, nullable=False),
    Column("at", Instant, nullable=False),
    **EXACT_TEXT,
)

# No reference to `images`: what is left in a store stays there when the image's record goes.
leftovers = Table(
    "leftovers",
    schema,
    Column("id", Integer, primary_key=True),
    Column("image_id", String(ID_LENGTH), nullable=False),
    Column("store_id", String(NAME_LENGTH), nullable=False),
    Column("trace", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    **EXACT_TEXT,
)

# The names of transactions that were kept (see `transactions`).
transactions = Table(
    "transactions",
    schema,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("at", Instant, nullable=False),
    **EXACT_TEXT,
)
