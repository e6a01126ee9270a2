"""Locks are leased and fenced. A task of the version before has none (1970): it counts as expired after an hour of silence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from glance_stream.catalogue.migrations import INSTANT, columns_of

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    add("images", sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"))
    add("tasks", sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"))
    add("tasks", sa.Column("expires_at", INSTANT, nullable=False, server_default="1970-01-01 00:00:00"))
    add("tasks", sa.Column("progress", sa.Text))


def add(table: str, column: sa.Column[object]) -> None:
    if column.name not in columns_of(op.get_bind(), table):
        op.add_column(table, column)
