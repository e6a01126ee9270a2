"""The stage of most tests here, and the proof after each of them that nothing runs on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
pytest.register_assert_rewrite("stage")

from faults.loop import LOOPS, run  # noqa: E402
from stage import Stage  # noqa: E402

from glance_stream import threads  # noqa: E402
from glance_stream.transfer import pouring  # noqa: E402


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.release()


@pytest.fixture(scope="session", autouse=True)
def _warm_up() -> None:
    """A loop of each kind opens, when it is first used, what it never closes again."""
    for loop in LOOPS:
        run(asyncio.sleep(0), loop=loop)


@pytest.fixture(autouse=True)
def _no_patience_with_hung_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tests hang a thread on purpose; none needs a second to find that it does not stop."""
    monkeypatch.setattr(pouring, "STOP_SECONDS", 0.1)


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """No thread is busy and no descriptor open that was not before."""
    before = _descriptors()
    yield
    end = time.monotonic() + 3
    while (_busy() or _descriptors() > before) and time.monotonic() < end:
        time.sleep(0.005)
    assert _busy() == 0
    assert _descriptors() <= before


def _busy() -> int:
    mine = [thread for thread in threading.enumerate() if thread.name == "glance-stream"]
    return len(mine) - len(threads.THREADS._idle)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
