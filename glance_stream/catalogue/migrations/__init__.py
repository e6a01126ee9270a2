"""The catalogue's schema through the versions of this program. `tables.py` says what it is now; each revision, how it got there.

How a revision is added: change ``tables.py``; write ``versions/rNNNN_what_it_does.py`` with ``revision = "NNNN"``,
``down_revision`` the one before and a function ``upgrade``; set HEAD here. Four figures, so that revisions compare as text. Nothing
is ever downgraded: a backup is the way back. A test migrates the oldest catalogue on every database and compares the outcome with
``tables.py``.

- A revision is frozen: it imports nothing of ours but this package's `columns_of` and `INSTANT`, because what it names may change.
- SQLite can't change a column in place: use ``with op.batch_alter_table("images") as batch``, which copies the table there and is
  an ordinary ALTER TABLE elsewhere. Foreign keys are off meanwhile, and checked before the commit.
- MariaDB commits each DDL statement by itself, so a revision may run again after it died half way: ask `columns_of` before adding.
- New columns of tables that have rows need a ``server_default`` or must be nullable.
- Names of constraints come from the naming convention of ``tables.schema``; a batch is given it by `upgrade`.

Alembic is imported when there is something to migrate and not before.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, inspect
from sqlalchemy.dialects.mysql import DATETIME

BASELINE = "0001"
HEAD = "0004"
TABLE = "alembic_version"

# As `tables.Instant` is in each database.
INSTANT = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")

_one_at_a_time = threading.Lock()  # alembic's `op` belongs to the whole process


def upgrade(connection: Connection, *, to: str = HEAD, options: dict[str, Any] | None = None) -> None:
    """Run the revisions from the recorded one up to ``to``, in the connection's transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    from glance_stream.catalogue.tables import schema

    scripts = ScriptDirectory(str(Path(__file__).parent))
    environment = EnvironmentContext(Config(), scripts, fn=lambda current, _: scripts._upgrade_revs(to, current))
    with _one_at_a_time, environment:
        environment.configure(connection=connection, target_metadata=schema, version_table=TABLE, **(options or {}))
        environment.run_migrations()


def columns_of(connection: Connection, table: str) -> set[str]:
    """The columns that the table has; none if there is no such table."""
    found = inspect(connection)
    return {column["name"] for column in found.get_columns(table)} if found.has_table(table) else set()
