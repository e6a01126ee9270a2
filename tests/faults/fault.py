"""What can go wrong at a step: it fails, it hangs until it is let go, it is slow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from glance_stream import threads

PATIENCE = 30.0  # no test hangs longer than this on a fault it forgot to release


class Fault:
    """Strikes coroutines and, on a lane's thread, blocking calls. ``reached`` is set when it does."""

    def __init__(self) -> None:
        self.reached = threading.Event()

    async def strike(self) -> None:
        self.reached.set()

    def strike_blocking(self) -> None:
        self.reached.set()

    def release(self) -> None:
        """Let everything go that hangs on this."""

    async def wait_reached(self) -> None:
        assert await threads.call(self.reached.wait, PATIENCE)


class Fail(Fault):
    """Raises what ``error`` makes."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self._error = error

    async def strike(self) -> None:
        self.strike_blocking()

    def strike_blocking(self) -> None:
        self.reached.set()
        raise self._error()


class Hang(Fault):
    """Does not return until released."""

    def __init__(self) -> None:
        super().__init__()
        self._released = threading.Event()

    async def strike(self) -> None:
        """As a driver's thread hangs: giving up the waiting for it does not end it."""
        self.reached.set()
        await threads.call(self._released.wait, PATIENCE)

    def strike_blocking(self) -> None:
        self.reached.set()
        self._released.wait(PATIENCE)

    def release(self) -> None:
        self._released.set()


class Slow(Fault):
    """Takes ``seconds`` and then goes well."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def strike(self) -> None:
        self.reached.set()
        await asyncio.sleep(self._seconds)

    def strike_blocking(self) -> None:
        self.reached.set()
        time.sleep(self._seconds)
