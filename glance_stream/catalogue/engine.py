"""The one place that knows which database this is: opening it, its transactions, and its errors in our words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy import exc as sql

from glance_stream.catalogue import migrations, schema_version
from glance_stream.errors import CatalogueError, InvalidRequest

BUSY_SECONDS = 30.0  # how long a transaction waits for another process's; ours last milliseconds
IMMEDIATE = "glance_stream_immediate"
MIGRATION = "glance_stream_migration"
MIGRATION_LOCK = 0x676C616E6365  # any number that no other program takes

ADVICE: Mapping[str, str] = {
    "SQLITE_BUSY": f"another process has kept it locked for {BUSY_SECONDS:.0f} s",
    "SQLITE_READONLY": "it is read-only: the file and its directory must be writable",
    "SQLITE_CANTOPEN": "it can't be opened: its directory must exist and be writable",
    "SQLITE_PERM": "access to it is denied",
    "SQLITE_NOTADB": "the file is not a catalogue, or is damaged: name another file, or restore this one from a backup",
    "SQLITE_CORRUPT": "the file is damaged: restore it from a backup",
    "SQLITE_FULL": "there is no space left for it",
    "SQLITE_IOERR": "reading or writing its file failed",
}


class Conflict(CatalogueError):
    """A unique constraint refused a row: someone else was first. Turned into a refusal by the operation that meets it."""


class Database:
    """An open catalogue database. Any thread may use it."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.name = masked(parsed)
        with self._edge():
            self._engine = _create_engine(parsed)
        self._reader, self._writer = _sides(self._engine)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with self._edge(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is kept whole or not at all. On SQLite it is alone from its start: it never has to retry."""
        with self._edge(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        """Create what is missing. A complete catalogue is not written to, so that one on read-only media can be read."""
        with self.read() as connection:
            if schema_version.find(connection, self.name) == migrations.HEAD:
                return
        with self._edge():
            if self._engine.dialect.name == "sqlite":
                _use_write_ahead_log(self._engine)
            with self._alone() as connection:
                schema_version.bring_up_to_date(connection, self.name)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that changes the schema, one at a time among all processes."""
        dialect = self._engine.dialect.name
        with self._engine.execution_options(**{MIGRATION: True}).begin() as connection:
            if dialect == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            elif dialect in ("mysql", "mariadb"):
                locked = f"SELECT GET_LOCK(CONCAT('{MIGRATION}.', DATABASE()), {BUSY_SECONDS})"
                if connection.exec_driver_sql(locked).scalar() != 1:
                    raise CatalogueError(f"catalogue {self.name}: another process is migrating it; try again later")
            try:
                yield connection
                if dialect == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    raise CatalogueError(f"catalogue {self.name}: it can't be migrated: a row of {broken[0]} refers to nothing")
            finally:
                connection.detach()  # it ends with this transaction, and with it what was set for it alone

    @contextmanager
    def _edge(self) -> Iterator[None]:
        """No error of the database, its driver or SQLAlchemy passes here. Their texts may quote values; ours say what to do."""
        try:
            yield
        except sql.IntegrityError as error:
            raise Conflict(f"catalogue {self.name}: {error.orig}") from error
        except sql.DBAPIError as error:
            raise CatalogueError(f"catalogue {self.name}: {_explain(error.orig)}") from error
        except sql.SQLAlchemyError as error:
            raise CatalogueError(f"catalogue {self.name}: {type(error).__name__}") from error
        except (UnicodeError, OverflowError) as error:
            raise InvalidRequest(f"catalogue {self.name}: a value can't be stored: {error}") from error


def masked(url: URL) -> str:
    """The URL as it may be shown: without the password, and without options, which may hold one too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (sql.ArgumentError, ValueError):  # `from None`: their messages quote the URL, password and all
        raise InvalidRequest("the catalogue's URL can't be read: write sqlite:////absolute/path/catalogue.db") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidRequest(
            "a catalogue in memory would forget what is in the stores: write sqlite:////absolute/path/catalogue.db"
        )
    return parsed


def _create_engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _create_sqlite(url)
        return create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except sql.NoSuchModuleError:
        raise InvalidRequest(f"catalogue {masked(url)}: no database is called {url.drivername!r}; sqlite is built in") from None
    except ImportError as error:
        raise InvalidRequest(f"catalogue {masked(url)}: its driver is not installed ({error})") from error


def _sides(engine: Engine) -> tuple[Engine, Engine]:
    """The same connections for reading and for writing."""
    if engine.dialect.name == "sqlite":
        return engine, engine.execution_options(**{IMMEDIATE: True})
    # Writers work under READ COMMITTED with the lock's row held (SELECT ... FOR UPDATE in `locks.require`).
    return engine.execution_options(isolation_level="REPEATABLE READ"), engine.execution_options(isolation_level="READ COMMITTED")


def _create_sqlite(url: URL) -> Engine:
    database = url.database or ""
    if not database.startswith("file:"):
        _create_file(Path(database), masked(url))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _create_file(path: Path, name: str) -> None:
    """Whoever can write the catalogue can exchange an image's data (OSSN-0065), so a new one is its owner's alone."""
    try:
        for directory in reversed([parent for parent in path.parents if not parent.exists()]):
            directory.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))  # SQLite gives its -wal file the same mode
    except OSError as error:
        raise InvalidRequest(f"catalogue {name}: {error.filename}: {error.strerror}; name a file that can be written") from error


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3's own BEGIN comes late and never before a SELECT; ours is `_on_begin`
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")  # a location we recorded must outlive a power cut: its object does
    cursor.close()


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(MIGRATION):
        connection.exec_driver_sql(
            "PRAGMA foreign_keys=OFF"
        )  # a table is changed by replacing it; inside a transaction it is too late
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(IMMEDIATE) or options.get(MIGRATION) else "BEGIN")


def _use_write_ahead_log(engine: Engine) -> None:
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
                if _sqlite_code(error) != "SQLITE_BUSY" or time.monotonic() > deadline:
                    raise sql.DBAPIError("PRAGMA journal_mode=WAL", None, error) from error
                time.sleep(0.01)
    finally:
        connection.close()


def _sqlite_code(error: BaseException | None) -> str:
    """The primary result code: extended ones add a word, as in SQLITE_IOERR_FSYNC."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


def _explain(error: BaseException | None) -> str:
    advice = ADVICE.get(_sqlite_code(error))
    return f"{advice} ({error})" if advice else str(error)
