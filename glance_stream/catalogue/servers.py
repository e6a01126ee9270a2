"""A catalogue on a server, for many hosts: PostgreSQL by psycopg and MariaDB by PyMySQL, which OpenStack's services use too.

Every wait has a limit: for a connection, for a lock, for a statement, for an answer from a server that is silent but not gone, and
for a client that died in a transaction, whose locks others wait for.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event

from glance_stream.catalogue import server_options

CONNECT_SECONDS = 10
LOCK_SECONDS = 20
STATEMENT_SECONDS = 30
ANSWER_SECONDS = 40  # the least that lets the server's own limits be heard of first
IDLE_SECONDS = 60

SNAPSHOT = "glance_stream_snapshot"  # execution option of an engine whose transactions see one state throughout

# As they are written, and as they are meant: SQLAlchemy has other drivers in mind.
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
}
EXTRAS = {"postgresql": "postgres", "mysql": "mariadb", "mariadb": "mariadb"}


def create(url: URL, name: str) -> Engine:
    """Raises ImportError without the driver; InvalidRequest for an option. ``name``: the catalogue's.

    Writers work under READ COMMITTED with their image's row held.
    """
    mysql = url.get_backend_name() != "postgresql"
    defaults = _pymysql(url) if mysql else _psycopg(url)
    given = {name: value for name, value in defaults.items() if name not in url.query or name == "options"}
    server_options.check(url, name)
    engine = create_engine(
        url,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=STATEMENT_SECONDS,
        pool_reset_on_return=None,  # every transaction has ended by then; one more rollback of a lost connection logs a traceback
        connect_args=given,
    )
    event.listen(engine, "begin", _on_begin)
    if mysql:
        event.listen(engine, "do_connect", _connect_pymysql)
        event.listen(engine, "connect", _set_limits)
    else:
        # Several rows in one INSERT. Otherwise they go through a pipeline, which complains on stderr when its connection is cut.
        engine.dialect.use_insertmanyvalues_wo_returning = True
        event.listen(engine, "do_connect", _connect_psycopg)
    return engine


def _psycopg(url: URL) -> dict[str, Any]:
    limits = {
        "statement_timeout": STATEMENT_SECONDS,
        "lock_timeout": LOCK_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_SECONDS,
    }
    options = [f"-c {name}={seconds * 1000}" for name, seconds in limits.items()]
    own = url.query.get("options", ())
    return {
        "connect_timeout": CONNECT_SECONDS,
        "options": " ".join([*options, *([own] if isinstance(own, str) else own)]),
        "keepalives_idle": 20,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def _pymysql(_url: URL) -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "write_timeout": ANSWER_SECONDS,
        "charset": "utf8mb4",
    }


def _on_begin(connection: Connection) -> None:
    """As a statement of its own: SQLAlchemy's way of setting it lets the driver's errors pass as they are."""
    if connection.get_execution_options().get(SNAPSHOT):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _set_limits(connection: Any, _record: object) -> None:
    limits = {
        "innodb_lock_wait_timeout": LOCK_SECONDS,
        "lock_wait_timeout": LOCK_SECONDS,
        "sql_mode": "'TRADITIONAL'",  # without it what is too long is cut short in silence
    }
    if "MariaDB" in connection.get_server_info():  # and not MySQL, which is not tested
        limits |= {"idle_transaction_timeout": IDLE_SECONDS, "max_statement_time": STATEMENT_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION " + ", ".join(f"{name}={value}" for name, value in limits.items()))


def _connect_pymysql(dialect: Dialect, _record: object, _arguments: list[Any], options: dict[str, Any]) -> Any:
    """A PyMySQL connection: its timeout for connecting ends before the server's first word, which is waited for no longer."""
    patience = options["read_timeout"]
    connection = dialect.loaded_dbapi.connect(**{**options, "read_timeout": min(CONNECT_SECONDS, patience)})
    connection._read_timeout = patience
    return connection


def _connect_psycopg(_dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """A psycopg connection that does not wait for ever for a server that is stopped, or gone without a word."""
    import psycopg

    class Limited(psycopg.Connection[Any]):
        def wait(self, gen: Any, *rest: Any, **named: Any) -> Any:
            return super().wait(_limited(gen, self), *rest, **named)

    return Limited.connect(*arguments, **options)


def _limited(steps: Generator[Any, Any, Any], connection: Any) -> Generator[Any, Any, Any]:
    """What psycopg waits by: it is asked in short intervals, with 0 for "nothing yet"."""
    import psycopg

    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                connection.pgconn.finish()
                raise psycopg.OperationalError(f"no answer for {ANSWER_SECONDS} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value
