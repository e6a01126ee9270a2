"""The real program in processes of its own, away from the user's files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_program import Endless, Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    home = tmp_path / "home"
    home.mkdir()
    program = Program(home)
    yield program
    for process in program.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def image(program: Program, tmp_path: Path) -> Path:
    path = tmp_path / "home" / "jammy.img"  # the program runs there
    path.write_bytes(os.urandom(5 << 20))
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Endless]:
    fifo = Endless(tmp_path / "endless")
    fifo.start()
    yield fifo
    fifo.close()
