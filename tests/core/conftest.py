"""Both cores, and threads that no test can hang on."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

JOIN_SECONDS = 15.0  # below each test's time limit, so that a hang names its thread instead of killing the run


class Call:
    """One call on a thread of its own; its result or its error is the caller's to ask for."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self.error: BaseException | None = None
        self.value: Any = None
        self.thread = threading.Thread(target=self._run, args=(fn, args), name=getattr(fn, "__qualname__", repr(fn)), daemon=True)
        self.thread.start()

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self.value = fn(*args)
        except BaseException as error:
            self.error = error

    def result(self, timeout: float = JOIN_SECONDS) -> Any:
        self.thread.join(timeout)
        if self.thread.is_alive():
            pytest.fail(f"{self.thread.name} hangs")
        if self.error is not None:
            raise self.error
        return self.value

    def waits(self) -> bool:
        """Whether the call is still under way after a moment. A call that must wait always is; one that need not may be too."""
        self.thread.join(0.05)
        return self.thread.is_alive()


@pytest.fixture(scope="session", params=["compiled", "twin"])
def core(request: pytest.FixtureRequest) -> ModuleType:
    """The compiled core and its twin in turn: a missing build fails, or a wheel without it would pass unnoticed."""
    if request.param == "twin":
        return importlib.import_module("glance_stream._chunker_py")
    try:
        return importlib.import_module("glance_stream._chunker")
    except ImportError as error:
        pytest.fail(f"the compiled core can't be loaded ({error}): build it with 'pip install -e .'")


@pytest.fixture(scope="session")
def start() -> type[Call]:
    """start(fn, *args).result(): runs on a daemon thread and fails instead of hanging."""
    return Call


@pytest.fixture(scope="session")
def feed() -> Callable[[Any, bytes], None]:
    """feed(ring, stream): publish it slot by slot and finish."""

    def feed(ring: Any, stream: bytes) -> None:
        for at in range(0, len(stream), ring.slot_size):
            part = stream[at : at + ring.slot_size]
            ring.reserve()[: len(part)] = part
            ring.publish(len(part))
        ring.finish()

    return feed


@pytest.fixture(scope="session")
def drain() -> Callable[[Any], bytes]:
    """drain(lane): all its bytes."""

    def drain(lane: Any) -> bytes:
        return b"".join([bytes(slot.view) for slot in lane])

    return drain


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, closed at the end unless the test did so itself."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)
