"""An empty catalogue on each database in turn, and the words the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from catalogue_words import CONTENT, at
from real_servers import DatabaseServer

from glance_stream import model
from glance_stream.catalogue import Catalogue, Operation, Task
from glance_stream.model import Image

ROOT = Path(model.__file__).parent.parent


class SharedDatabase:
    """One database for many tests, because making the tables takes longer than most tests."""

    def __init__(self, server: DatabaseServer, name: str) -> None:
        self.url = f"{server.url}{name}"
        server.query(f"CREATE DATABASE {name}")
        Catalogue(self.url).close()
        self._server, self._name = server, name

    def emptied(self) -> str:
        """On a connection of its own: some tests kill the server."""
        for table in ("images", "leftovers", "transactions"):
            self._server.query(f"DELETE FROM {table}", self._name)
        return self.url


@pytest.fixture(scope="session")
def shared_databases() -> Iterator[Callable[[DatabaseServer], SharedDatabase]]:
    name = f"catalogue_{os.getpid()}"
    made: dict[str, tuple[DatabaseServer, SharedDatabase]] = {}

    def get(server: DatabaseServer) -> SharedDatabase:
        if server.name not in made:
            made[server.name] = server, SharedDatabase(server, name)
        return made[server.name][1]

    yield get
    for server, _ in made.values():
        server.end_sessions(name)
        server.query(f"DROP DATABASE {name}")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path, shared_databases: Callable[[DatabaseServer], SharedDatabase]) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.db"
    return shared_databases(request.getfixturevalue(request.param)).emptied()


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    with Catalogue(url) as opened:
        yield opened


@pytest.fixture
def image(catalogue: Catalogue) -> Image:
    return catalogue.create_image(
        str(uuid.uuid4()), name="jammy", disk_format="raw", container_format="bare", properties={"os_distro": "ubuntu"}
    )


@pytest.fixture
def task(catalogue: Catalogue, image: Image) -> Task:
    """Holds the image."""
    return catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task


@pytest.fixture
def imported(catalogue: Catalogue, image: Image, task: Task) -> Image:
    """Active in store `a`, with nobody holding it."""
    catalogue.begin(task, ["a"], importing=True)
    catalogue.verified(task, *CONTENT, virtual_size=7)
    catalogue.record_success(task, [at("a")])
    catalogue.release(task)
    return catalogue.get_image(image.image_id)


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python on a script in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
