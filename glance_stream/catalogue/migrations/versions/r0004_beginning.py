"""What an operation has read of its source: an interrupted one need not fetch it again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from glance_stream.catalogue.migrations import columns_of

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    if "source" not in columns_of(op.get_bind(), "operations"):
        op.add_column("operations", sa.Column("source", sa.Text))
