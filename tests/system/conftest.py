"""The program as a process, with faults of the system under it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.preload import ForkServer, build_preload
from system_home import COPY, IMPORT, Home, with_config

MEMORY = "/dev/shm"


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


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory where there is one: hundreds of runs, each with a dozen of fsyncs."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("quick")
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def fresh(quick: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[tuple[str, ...]], Home]]:
    """A home for each run of a command: a copy of the one that the command begins with, in the place of the one before."""
    homes: list[Home] = []

    def clear() -> None:
        while homes:
            shutil.rmtree(homes.pop().directory)

    def make(command: tuple[str, ...]) -> Home:
        clear()
        is_active = command[0] == COPY[0]
        template: Home = request.getfixturevalue("active" if is_active else "queued")
        homes.append(template.copied_to(quick / "home", active=is_active))
        return homes[0]

    yield make
    clear()
