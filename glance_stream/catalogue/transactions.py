"""Which transactions took effect, for one whose COMMIT was not answered.

Such a transaction is neither to be given up (its effect may be there) nor simply to be run again (it may come twice). So each
begins by inserting a name of its own. Run again under the same name, it waits at that row's unique key for a first run that the
server is still busy with, and is told by the key whether that one was kept.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, insert

from glance_stream.catalogue.tables import now, transactions

# A row is asked for within minutes of its making. The rest allows for hosts whose clocks do not agree.
KEPT = timedelta(days=7)


def begin(connection: Connection, name: str) -> None:
    """The first statement of a transaction. IntegrityError: it has been run, and was kept."""
    connection.execute(insert(transactions).values(id=name, at=now()))


def forget_old(connection: Connection) -> None:
    connection.execute(delete(transactions).where(transactions.c.at < now() - KEPT))
