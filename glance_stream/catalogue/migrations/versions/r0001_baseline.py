"""The schema of version 0.1.0, which recorded no revision."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from glance_stream.catalogue.migrations import INSTANT, columns_of

revision = "0001"
down_revision = None

EXACT_TEXT: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
DIGESTS = sa.LargeBinary(1 << 30)


def upgrade() -> None:
    table(
        "images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(30), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("disk_format", sa.String(20)),
        sa.Column("container_format", sa.String(20)),
        *content(),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("status <> 'active' OR (size IS NOT NULL AND size > 0)", name=op.f("ck_images_active_has_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        index="created_at",
    )
    table(
        "image_properties",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_properties")),
        refers("image_properties", "image_id", "images"),
        sa.UniqueConstraint("image_id", "name", name=op.f("uq_image_properties_image_id_name")),
    )
    table(
        "image_locations",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(255), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_locations")),
        refers("image_locations", "image_id", "images"),
        index="image_id",
    )
    table(
        "fingerprints",
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("slot_size", sa.BigInteger, nullable=False),
        sa.Column("digests", DIGESTS, nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_fingerprints")),
        refers("fingerprints", "image_id", "images"),
    )
    table(
        "tasks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("operation", sa.String(20), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("machine_id", sa.String(64), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("pid_namespace", sa.String(64), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("process_started", sa.BigInteger, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("message", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        refers("tasks", "image_id", "images"),
        index="image_id",
    )
    table(
        "operations",
        sa.Column("task_id", sa.String(36), nullable=False),
        sa.Column("stores", sa.Text, nullable=False),
        sa.Column("importing", sa.Boolean, nullable=False),
        sa.Column("earlier_status", sa.String(30), nullable=False),
        *content("earlier_"),
        sa.Column("earlier_fingerprints", sa.Boolean, nullable=False),
        *content("verified_"),
        sa.Column("slot_size", sa.BigInteger),
        sa.Column("digests", DIGESTS),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_operations")),
        refers("operations", "task_id", "tasks"),
    )
    table(
        "journal",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("task_id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(255), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("trace", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
        refers("journal", "task_id", "tasks"),
        index="task_id",
    )
    table(
        "failures",
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(255), nullable=False),
        sa.Column("error", sa.String(255), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("image_id", "store_id", name=op.f("pk_failures")),
        refers("failures", "image_id", "images"),
    )
    table(
        "leftovers",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(255), nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leftovers")),
    )


def table(name: str, *parts: sa.Column[Any] | sa.Constraint, index: str = "") -> None:
    if columns_of(op.get_bind(), name):
        return
    op.create_table(name, *parts, **EXACT_TEXT)
    if index:
        op.create_index(op.f(f"ix_{name}_{index}"), name, [index])


def refers(name: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{name}_{column}"), ondelete="CASCADE")


def content(prefix: str = "") -> list[sa.Column[Any]]:
    return [
        sa.Column(f"{prefix}size", sa.BigInteger),
        sa.Column(f"{prefix}virtual_size", sa.BigInteger),
        sa.Column(f"{prefix}checksum", sa.String(32)),
        sa.Column(f"{prefix}os_hash_algo", sa.String(64)),
        sa.Column(f"{prefix}os_hash_value", sa.String(128)),
    ]
