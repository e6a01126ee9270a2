"""A catalogue in a file: SQLite with a write-ahead log, for the processes of one host."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy import exc as sql

from glance_stream.errors import InvalidRequest

BUSY_SECONDS = 30.0  # how long a transaction waits for another process's; ours last milliseconds

# Execution options of an engine: what its transactions begin with.
IMMEDIATE = "glance_stream_immediate"
MIGRATION = "glance_stream_migration"


def create(url: URL, name: str) -> Engine:
    """Raises InvalidRequest where no such file can be."""
    database = url.database or ""
    if not database.startswith("file:"):
        _create_file(Path(database), name)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _create_file(path: Path, name: str) -> None:
    """Whoever can write the catalogue can exchange an image's data (OSSN-0065), so a new one is its owner's alone."""
    try:
        for directory in reversed([parent for parent in path.parents if not parent.exists()]):
            directory.mkdir(mode=0o700, exist_ok=True)
            _sync(directory.parent)  # or a power cut takes the directory away with all the records; in it SQLite syncs by itself
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))  # SQLite gives its -wal file the same mode
    except OSError as error:
        raise InvalidRequest(f"catalogue {name}: {error.filename}: {error.strerror}; name a file that can be written") from error


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3's own BEGIN comes late and never before a SELECT; ours is `_on_begin`
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")  # a location we recorded must outlive a power cut: its object does
    cursor.close()


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(MIGRATION):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # a table is changed by replacing it; later it would be too late
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(IMMEDIATE) or options.get(MIGRATION) else "BEGIN")


def use_write_ahead_log(engine: Engine) -> None:
    """Readers and a writer do not wait for each other. The file keeps the mode, so once is enough.

    Two processes that change a new file's mode at once are both refused without waiting, to avoid their deadlock.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    connection = engine.raw_connection()  # no BEGIN: the mode can't be changed inside a transaction
    try:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.Error as error:
                if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                    raise sql.DBAPIError("PRAGMA journal_mode=WAL", None, error) from error
                time.sleep(0.01)
    finally:
        connection.close()
