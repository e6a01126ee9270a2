"""The program as a process, with faults of the system under it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.preload import ForkServer, build_preload
from system_home import COPY, IMPORT, Home, with_config


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_preload(tmp_path_factory.mktemp("preload"))


@pytest.fixture(scope="session")
def server(preload: Path) -> Iterator[ForkServer]:
    with ForkServer(preload) as server:
        yield server


@pytest.fixture(scope="session")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.make(tmp_path_factory.mktemp("queued") / "home")


@pytest.fixture(scope="session")
def active(tmp_path_factory: pytest.TempPathFactory, server: ForkServer) -> Home:
    """The image is in store one."""
    home = Home.make(tmp_path_factory.mktemp("active") / "home")
    command = [word for word in IMPORT if word != "--all-stores"]
    ended = server.run(with_config((*command, "--store", "one")), home.directory)
    assert ended.code == 0, ended
    return home


@pytest.fixture
def fresh(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[tuple[str, ...]], Home]:
    """A home of its own for each run of a command: a copy of the one that the command begins with."""
    numbers = itertools.count()

    def make(command: tuple[str, ...]) -> Home:
        is_active = command[0] == COPY[0]
        template: Home = request.getfixturevalue("active" if is_active else "queued")
        return template.copied_to(tmp_path / f"home{next(numbers)}", active=is_active)

    return make
