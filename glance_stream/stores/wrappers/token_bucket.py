"""How many bytes may go now: a token bucket in whole numbers, and the queue before it.

Over any time t no more than ``rate * t + burst`` bytes pass, exactly; and whoever waits does not wait a nanosecond longer than
that takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

SECOND = 10**9  # nanoseconds

# A tenth of a second's bytes at once: smooth enough for a line, and few enough wake-ups. Never less than a page, and never so
# many that they could be felt as a surge.
BURSTS_PER_SECOND = 10
LEAST_BURST = 4096
MOST_BURST = 16 << 20

# How soon one that waits notices that it need not any more.
POLL_SECONDS = 0.1


class TokenBucket:
    """``rate`` in bytes a second, ``burst`` in bytes. Times are nanoseconds that never go back. Full at first. One thread."""

    def __init__(self, rate: int, burst: int, now: int) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst * SECOND  # in bytes a second of a nanosecond: nothing is ever rounded
        self._at = now

    def take(self, size: int, now: int) -> int:
        """Take ``size`` bytes, at most ``burst``, if they are there: 0. Else nothing, and the nanoseconds until they are."""
        self._level = min(self.burst * SECOND, self._level + (now - self._at) * self.rate)
        self._at = now
        lacking = size * SECOND - self._level
        if lacking > 0:
            return -(-lacking // self.rate)
        self._level = -lacking
        return 0


class Bandwidth:
    """A limit that any number of threads share: first come, first served, a piece at a time, so that none of them starves."""

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        """``rate``: bytes a second. The rest is for tests."""
        burst = min(MOST_BURST, max(LEAST_BURST, rate // BURSTS_PER_SECOND))
        self._bucket = TokenBucket(rate, burst, clock())
        self._clock = clock
        self._wait = wait
        self._turn = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def rate(self) -> int:
        return self._bucket.rate

    @property
    def burst(self) -> int:
        """The most bytes that can be asked for at once."""
        return self._bucket.burst

    @property
    def waiting(self) -> int:
        with self._turn:
            return len(self._queue)

    def take(self, size: int, stopped: Callable[[], bool]) -> bool:
        """Wait until ``size`` bytes may go. False, and nothing taken, soon after ``stopped`` says so."""
        ticket = object()
        with self._turn:
            self._queue.append(ticket)
            try:
                while not stopped():
                    first = self._queue[0] is ticket
                    nanoseconds = self._bucket.take(size, self._clock()) if first else SECOND
                    if not nanoseconds:
                        return True
                    self._wait(self._turn, min(nanoseconds / SECOND, POLL_SECONDS))
                return False
            finally:
                self._queue.remove(ticket)
                self._turn.notify_all()


_SHARED: dict[int, Bandwidth] = {}


def shared(rate: int) -> Bandwidth:
    """The one limit of this rate that all stores of this process share, whatever transfer they serve."""
    return _SHARED.setdefault(rate, Bandwidth(rate))
