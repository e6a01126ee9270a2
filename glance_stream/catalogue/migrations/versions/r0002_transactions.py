"""The names of transactions, by which one whose COMMIT was not answered is found to have been kept."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from glance_stream.catalogue.migrations import INSTANT, columns_of

revision = "0002"
down_revision = "0001"

EXACT_TEXT: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    if columns_of(op.get_bind(), "transactions"):
        return
    op.create_table(
        "transactions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        **EXACT_TEXT,
    )
