"""Database servers for catalogues, asked by their own drivers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server_daemons import ServerHandle


@dataclass(frozen=True)
class DatabaseServer:
    """PostgreSQL or MariaDB. ``url``: of the server, without a database, as a user who may do anything."""

    name: str
    url: str
    daemon: ServerHandle

    def connect(self, database: str = "") -> Any:
        """A connection that commits each statement by itself."""
        place = urlsplit(self.url)
        if self.name == "postgresql":
            import psycopg

            return psycopg.connect(f"{self.url}{database or 'postgres'}", autocommit=True, connect_timeout=10)
        import pymysql

        assert place.hostname
        assert place.port
        return pymysql.connect(
            host=place.hostname,
            port=place.port,
            user=place.username,
            password=place.password or "",
            database=database or None,
            autocommit=True,
            connect_timeout=10,
        )

    def query(self, statement: str, database: str = "") -> list[tuple[Any, ...]]:
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def sessions(self, database: str) -> list[int]:
        """The server's numbers of the connections to a database."""
        if self.name == "postgresql":
            return [row[0] for row in self.query(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")]
        return [row[0] for row in self.query(f"SELECT id FROM information_schema.processlist WHERE db = '{database}'")]

    def end_sessions(self, database: str) -> int:
        """Cut every connection to a database from the server's side, as its administrator would."""
        ended = self.sessions(database)
        for number in ended:
            with suppress(Exception):  # it may have ended by itself
                self.query(f"SELECT pg_terminate_backend({number})" if self.name == "postgresql" else f"KILL CONNECTION {number}")
        return len(ended)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing answers, with every socket open: a process for each connection is stopped as well, where there are such."""
        first = self.daemon.pid
        stopped = [first, *_children(first)]
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """All of it, at once."""
        children = _children(self.daemon.pid)
        self.daemon.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.01)

    def restart(self) -> None:
        """Killed if need be, and back at the same address with what was committed."""
        if self.daemon.alive():
            self.kill()
        self.daemon.restart()

    @contextmanager
    def killed(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            self.restart()


@dataclass(frozen=True)
class RealDatabase:
    """A database of one test's own. ``url`` is what a catalogue's configuration says."""

    server: DatabaseServer
    name: str

    @property
    def url(self) -> str:
        return f"{self.server.url}{self.name}"

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement, self.name)

    def end_sessions(self) -> int:
        return self.server.end_sessions(self.name)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return []
