"""The database under the catalogue: opening it, its transactions, whole ones tried again, and its errors in our words."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy import exc as sql

from glance_stream.catalogue import migrations, refusals, schema_version, servers, sqlite, transactions
from glance_stream.catalogue.patience import Patience
from glance_stream.errors import CatalogueError, CatalogueUnavailable, InvalidRequest
from glance_stream.retry import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")

EXAMPLES = (
    "sqlite:////absolute/path/catalogue.db, postgresql://user:password@host/database or mariadb://user:password@host/database"
)
MIGRATION_LOCK = 0x676C616E6365  # any number that no other program takes

# A restart or a failover takes a minute at most; deadlocks and serialization failures are over in a moment.
RETRIES = RetryPolicy(tries=1000, base=0.05, cap=3.0, budget=60.0)

# Before anything has begun nobody waits long to hear that the URL names another host.
OPENING = RetryPolicy(tries=4, base=0.2, cap=1.0, budget=10.0)
OPENING_SECONDS = 5.0  # after which no other try begins


class Conflict(CatalogueError):
    """A unique constraint refused a row: someone else was first. Turned into a refusal by the operation that meets it."""


class Database:
    """An open catalogue database. Any thread may use it."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.name = masked(parsed)
        self._patience = Patience(self.name)
        with self._edge():
            self._engine = _create_engine(parsed, self.name)
        self._is_file = self._engine.dialect.name == "sqlite"
        self._tidy = self._is_file
        self._reader, self._writer = _sides(self._engine)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def look(self, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """What the step finds in a transaction that only reads. Asked again when the database was not there."""

        def attempt() -> T:
            with self.read() as connection:
                return step(connection, *arguments, **named)

        return self._patience.run(RETRIES, attempt)

    def change(self, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """What the step gives, in a transaction kept once or not at all, however often a server has to be asked.

        CatalogueUnavailable: it could not be kept in time, or (its COMMIT never answered) it is not known whether it was.
        """
        if self._is_file:  # alone from its start, and its COMMIT always answers
            with self.write() as connection:
                return step(connection, *arguments, **named)
        name = str(uuid.uuid4())
        results: list[T] = []

        def attempt() -> T:
            with self.write() as connection:
                try:
                    transactions.begin(connection, name)
                except sql.IntegrityError:
                    if results:
                        return results[-1]  # of the run whose COMMIT was not answered
                    raise
                if not self._tidy:
                    transactions.forget_old(connection)
                results.append(step(connection, *arguments, **named))
            self._tidy = True
            return results[-1]

        return self._patience.run(RETRIES, attempt)

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

    def _open(self) -> None:
        """Within some 15 seconds, whatever is at the other end: one try alone may take ten."""
        deadline, ended = time.monotonic() + OPENING_SECONDS, threading.Event()

        def attempt() -> None:
            try:
                self._prepare()
            finally:
                if time.monotonic() > deadline:
                    ended.set()

        OPENING.run(attempt, ended)

    def _prepare(self) -> None:
        """Create what is missing, change what is old."""
        with self.read() as connection:
            if schema_version.find(connection, self.name) == migrations.HEAD:
                return
        with self._edge():
            if self._is_file:
                sqlite.use_write_ahead_log(self._engine)
            with self._alone() as connection:
                schema_version.bring_up_to_date(connection, self.name)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that changes the schema, one at a time among all processes, on a connection that ends with it."""
        with self._engine.execution_options(**{sqlite.MIGRATION: True}).connect() as connection:
            connection.detach()
            with connection.begin():
                self._exclude_others(connection)
                yield connection
                if self._is_file and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    raise CatalogueError(f"catalogue {self.name}: it can't be migrated: a row of {broken[0]} refers to nothing")

    def _exclude_others(self, connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        elif not self._is_file:
            locked = f"SELECT GET_LOCK(CONCAT('{sqlite.MIGRATION}.', DATABASE()), {servers.LOCK_SECONDS})"
            if connection.exec_driver_sql(locked).scalar() != 1:
                raise CatalogueUnavailable(f"catalogue {self.name}: another process is migrating it; try again later")

    @contextmanager
    def _edge(self) -> Iterator[None]:
        """No error of the database, its driver or SQLAlchemy passes here. Their texts may quote values; ours say what to do."""
        try:
            yield
        except sql.IntegrityError as error:
            raise Conflict(f"catalogue {self.name}: {refusals.said(error.orig)}") from error
        except sql.DataError as error:
            raise InvalidRequest(f"catalogue {self.name}: a value can't be stored: {refusals.said(error.orig)}") from error
        except sql.DBAPIError as error:
            raise refusals.refusal(self.name, error) from error
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
        raise InvalidRequest(f"the catalogue's URL can't be read: write {EXAMPLES}") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise InvalidRequest(f"a catalogue in memory would forget what is in the stores: write {EXAMPLES}")
        return parsed
    driver = servers.DRIVERS.get(parsed.drivername)
    if "@" in (parsed.host or "") or (parsed.username is None and "@" in (parsed.database or "") + "".join(parsed.query)):
        raise InvalidRequest(
            "the catalogue's URL can't be read: percent-encode @ in the password as %40, : as %3A, / as %2F, ? as %3F"
        )
    if driver is None:
        raise InvalidRequest(
            f"catalogue {masked(parsed)}: {parsed.drivername!r} is no database that it can be in: write {EXAMPLES}"
        )
    return parsed.set(drivername=driver)


def _create_engine(url: URL, name: str) -> Engine:
    if url.get_backend_name() == "sqlite":
        return sqlite.create(url, name)
    try:
        return servers.create(url, name)
    except ImportError as error:
        extra = servers.EXTRAS[url.get_backend_name()]
        raise InvalidRequest(f"catalogue {name}: {error}; install its driver: pip install 'glance-stream[{extra}]'") from error


def _sides(engine: Engine) -> tuple[Engine, Engine]:
    """The same connections for reading and for writing."""
    if engine.dialect.name == "sqlite":
        return engine, engine.execution_options(**{sqlite.IMMEDIATE: True})
    return engine.execution_options(**{servers.SNAPSHOT: True}), engine
