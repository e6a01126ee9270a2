"""Reading under a time limit: an opening that does not end, a read that brings nothing. Raises StoreTimeout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from glance_stream import threads
from glance_stream.errors import SourceError, StoreTimeout
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.wrappers.wrapper import SourceWrapper

T = TypeVar("T")

# What a read brings at most at once: it comes through a buffer, since a read that is given up may still write there.
READ_SIZE = 1 << 20

# How soon an interrupt is noticed, and the time that what can be interrupted has to end.
NOTICE_SECONDS = 0.1


class TimeLimitedSource(SourceWrapper):
    """Each call runs on a daemon thread, and a read into a buffer of its own, 1 MiB: copied once, never natively read.

    One that was given up is interrupted, and closed by its thread when that ends. `reopen` then begins a fresh one, and goes on
    only if that shows the same size and validator.
    """

    def __init__(self, make: Callable[[], Source], store_id: str, *, opening: float | None, progress: float | None) -> None:
        """``make``: a source that is not open yet. Raises what it raises. Limits in seconds, None for none."""
        super().__init__(make())
        self._make = make
        self._store_id = store_id
        self._opening = opening
        self._progress = progress
        self._info: SourceInfo | None = None
        self._fit = False  # `inner` is open, and shows what was opened first: only then may it be read
        self._given_up = False  # `inner` is still in a call, whose thread closes it
        self._lock = threading.Lock()  # an interrupt reaches the source that is read, or the one that takes its place
        self._stopped = threading.Event()
        self._buffer = bytearray()

    def open(self) -> SourceInfo:
        self._info = self._within("opening", self._opening, self.inner.open)
        self._fit = True
        return self._info

    def reopen(self, offset: int) -> None:
        self._require_open()
        if not self._fit:
            self._begin_again()
        self._within("going on", self._opening, lambda: self.inner.reopen(offset))

    def _begin_again(self) -> None:
        """Until the comparison has passed, the fresh source is as unfit as the one that was given up: each try makes its own."""
        fresh = self._make()
        with self._lock:
            self.inner, self._given_up = fresh, False
            if self._stopped.is_set():
                fresh.interrupt()
        try:
            info = self._within("opening", self._opening, fresh.open)
            if info != self._info or info.validator is None:
                raise SourceError(f"{self.name} has changed, or does not show that it has not, since it was opened")
            self._fit = True
        finally:
            if not self._fit:
                self._close_inner()

    def _require_open(self) -> None:
        if self._info is None:
            raise SourceError(f"{self.name} is not open")

    def readinto(self, view: memoryview) -> int:
        self._require_open()
        if not self._fit:
            raise StoreTimeout(self._store_id, f"{self.name} was given up")
        limit = self._progress
        if limit is None:
            return self.inner.readinto(view)
        size = min(len(view), READ_SIZE)
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        buffer, inner = self._buffer, self.inner

        def read() -> int:
            with memoryview(buffer)[:size] as room:
                return inner.readinto(room)

        count = self._within("reading", limit, read)
        with memoryview(buffer)[:count] as found:
            view[:count] = found
        return count

    def _within(self, verb: str, limit: float | None, call: Callable[[], T]) -> T:
        if self._given_up:
            raise StoreTimeout(self._store_id, f"{self.name} was given up")
        if limit is None:
            return call()
        inner, end = self.inner, time.monotonic() + limit
        future = threads.THREADS.submit(call)
        while not future.done() and (left := end - time.monotonic()) > 0:
            if self._stopped.is_set():
                end = min(end, time.monotonic() + NOTICE_SECONDS)  # time enough for what can be interrupted
            with suppress(TimeoutError):  # of this waiting: the call's own is returned
                future.exception(timeout=min(left, NOTICE_SECONDS))
        if future.done():
            return future.result()
        self._given_up, self._fit, self._buffer = True, False, bytearray()
        inner.interrupt()
        future.add_done_callback(lambda _: inner.close())
        if self._stopped.is_set():
            raise SourceError(f"reading {self.name} was interrupted")
        raise StoreTimeout(self._store_id, f"{verb} {self.name} has not ended within {limit:g} s")

    def fileno(self) -> int | None:
        return self.inner.fileno() if self._progress is None else None

    def interrupt(self) -> None:
        with self._lock:
            self._stopped.set()
            self.inner.interrupt()

    def close(self) -> None:
        self._fit = False
        self._close_inner()
        self._buffer = bytearray()

    def _close_inner(self) -> None:
        if not self._given_up:  # else its thread closes it
            self.inner.close()
