"""When to try again, and when to stop trying: full jitter, the server's own word, and a budget.

Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015): each wait is anything from nothing to a step that
doubles, so that the many who failed in one moment do not come back in one moment.

Tries inside tries multiply: a store that tries again by itself, part by part, does it with this too and turns its SDK's own off.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from glance_stream.errors import CatalogueUnavailable, GlanceStreamError, ObjectBusy, SourceError, StoreError

P = ParamSpec("P")
T = TypeVar("T")

# With these waits five tries take 4 seconds on average and 8 at most: a lost connection, a failover, a throttled burst.
TRIES = 5
BASE_SECONDS = 0.5
CAP_SECONDS = 30.0

# Well within what the engine gives one call to a store, which goes on counting while we wait.
BUDGET_SECONDS = 60.0


def backoff(
    failures: int, base: float, cap: float, retry_after: float | None, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait after so many failures in a row (from 1). ``retry_after``: what the server asks for, None if nothing.

    The server's word is the least time; the jitter on top keeps its clients apart.
    """
    return max(0.0, retry_after or 0.0) + uniform(0, min(cap, base * 2 ** min(failures - 1, 30)))


def may_pass(error: Exception) -> bool:
    """Whether a store, source or database failed in a way that is worth another try soon. That an object is in use is an answer."""
    if isinstance(error, CatalogueUnavailable):
        return True
    return isinstance(error, StoreError | SourceError) and error.retryable and not isinstance(error, ObjectBusy)


def _pause(seconds: float, stopped: threading.Event) -> object:
    return stopped.wait(seconds)


@dataclass(frozen=True)
class RetryPolicy:
    """At most ``tries`` in a row, the first included. ``base`` and ``cap``: the first and the largest step, in seconds.

    ``budget``: seconds from the first failure on within which another try is begun. A wait that would go beyond it, a server's
    Retry-After too, ends with it: one last try instead of an idle transfer. The rest is for tests.
    """

    tries: int = TRIES
    base: float = BASE_SECONDS
    cap: float = CAP_SECONDS
    budget: float = BUDGET_SECONDS
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    pause: Callable[[float, threading.Event], object] = field(default=_pause, repr=False, compare=False)
    sleep: Callable[[float], Awaitable[object]] = field(default=asyncio.sleep, repr=False, compare=False)
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False, compare=False)

    def begin(self) -> Failures:
        return Failures(self)

    def run(self, call: Callable[[], T], stopped: threading.Event | None = None) -> T:
        """What the blocking call gives. Raises its last error; at once when ``stopped`` is set."""
        failures, stopped = self.begin(), stopped or threading.Event()
        while True:
            try:
                return call()
            except GlanceStreamError as error:
                failures.pause(error, stopped)

    async def run_async(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the coroutine function gives. Raises its last error."""
        failures = self.begin()
        while True:
            try:
                return await call(*args, **kwargs)
            except GlanceStreamError as error:
                await self.sleep(failures.delay(error))


class Failures:
    """Those of one call in a row. One more byte read, one more part stored: that is progress, and begins a new row."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._count = 0
        self._first_at = 0.0

    def delay(self, error: Exception) -> float:
        """Seconds until the next try. Raises ``error`` when there is to be none."""
        policy, now = self._policy, self._policy.clock()
        if not self._count:
            self._first_at = now
        self._count += 1
        left = self._first_at + policy.budget - now
        if not may_pass(error) or self._count >= policy.tries or left <= 0:
            raise error
        retry_after = error.retry_after if isinstance(error, StoreError) else None
        return min(left, backoff(self._count, policy.base, policy.cap, retry_after, policy.uniform))

    def pause(self, error: Exception, stopped: threading.Event) -> None:
        """Wait for the next try. Raises ``error`` when there is to be none, and when ``stopped`` is set meanwhile."""
        seconds = self.delay(error)
        if not stopped.is_set():
            self._policy.pause(seconds, stopped)
        if stopped.is_set():
            raise error
