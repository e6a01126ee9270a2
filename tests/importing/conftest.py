"""A site with the file stores a, b and c on a new catalogue."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import importing_words
import pytest
from importing_words import House, open_house

from glance_stream import model

HERE = Path(__file__).parent
ROOT = Path(model.__file__).parent.parent


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: every import makes its stores durable, and these tests kill processes, not machines."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="importing") as path:
        yield Path(path)


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Open a site with the stores given; it is closed at the end, and no image of it may ever have been active without data."""
    opened: list[House] = []

    def open_one(*args: Any, **options: Any) -> House:
        opened.append(open_house(tmp_path, *args, **options))
        return opened[-1]

    yield open_one
    for house in opened:
        house.catalogue.close()


@pytest.fixture
def house(open_site: Callable[..., House]) -> House:
    return open_site()


@pytest.fixture
def settled() -> Callable[[House, str, Iterable[str]], None]:
    """AC4: what must hold after every terminal outcome, good or bad."""
    return importing_words.assert_settled


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python on a script in a process of its own; none outlives the test. The words are importable there."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(ROOT), str(HERE), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, **environment},
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
