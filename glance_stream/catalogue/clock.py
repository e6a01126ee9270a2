"""The time of the database: what leases begin and end by, since the clocks of several hosts may be hours apart.

One expression for each database, always UTC without a time zone, as `tables.Instant` keeps it. Within a statement PostgreSQL's goes
on, the others' stand still at its beginning: either is before the end of the statement, so a lease never looks older than it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, BindParameter, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from glance_stream.catalogue.tables import Instant

MICROSECONDS = 10**6


class database_time(FunctionElement[datetime]):
    """Now, or so many seconds later; a parameter gives microseconds."""

    type = Instant()
    inherit_cache = True
    name = "database_time"

    def __init__(self, later: float | BindParameter[int] = 0.0) -> None:
        super().__init__(later if isinstance(later, BindParameter) else literal(microseconds(later), BigInteger))


def microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


@compiles(database_time, "sqlite")
def _sqlite(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    """Its clock has milliseconds; the zeros make the text of the length that SQLAlchemy writes, so that texts compare as times."""
    shift = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({shift} / 1000000.0) || ' seconds') || '000'"


@compiles(database_time, "postgresql")
def _postgresql(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    shift = compiler.process(element.clauses, **options)
    return f"((clock_timestamp() AT TIME ZONE 'UTC') + CAST({shift} AS bigint) * INTERVAL '1 microsecond')"


@compiles(database_time, "mysql")
@compiles(database_time, "mariadb")
def _mariadb(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    shift = compiler.process(element.clauses, **options)
    return f"(UTC_TIMESTAMP(6) + INTERVAL {shift} MICROSECOND)"
