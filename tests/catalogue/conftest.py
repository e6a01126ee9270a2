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


# Of each server one database, which is emptied for each test.
_databases: dict[str, str] = {}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.db"
    return empty_catalogue(request.getfixturevalue(request.param))


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


def empty_catalogue(server: DatabaseServer) -> str:
    name = f"catalogue_{os.getpid()}"
    if server.name not in _databases:
        server.query(f"CREATE DATABASE {name}")
        _databases[server.name] = f"{server.url}{name}"
    else:
        server.end_sessions(name)
        for table in ("images", "leftovers", "transactions"):
            server.query(f"DELETE FROM {table}", name)
    return _databases[server.name]
