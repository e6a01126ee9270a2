"""A store each of whose calls ends, well or not, within its time limit. Raises StoreTimeout.

==========  =========================================================================================================
open        the first contact: opening the store, a writer, a reader
call        one of free_space, stat, find, strays, discard, delete, published, abort
progress    a drain that has bytes to write and whose position does not move; a read that brings no byte
==========  =========================================================================================================

What is given up may go on in its thread. The contract is made for that: an abort or a discard that comes after it leaves nothing.
A drain or a read that hangs is abandoned with its thread, which can't touch the stream any more.

Without a limit here, on purpose: a commit, because one that is given up is in doubt and only who holds the image's lock can look
(the engine does, within its own limit); a flush, because an fsync of many GB may take minutes, and the engine limits it too
(``store_timeout``); a single ``write``, because the caller takes its buffer back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from concurrent.futures import wait
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from glance_stream import threads
from glance_stream.chunker import Lane, Ring
from glance_stream.errors import StoreTimeout
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Writer
from glance_stream.stores.wrappers.time_limited_source import TimeLimitedSource
from glance_stream.stores.wrappers.wrapper import StoreWrapper, WriterWrapper

# How often a drain is looked at.
WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class TimeLimits:
    """Seconds; None for no limit."""

    open: float | None = None
    call: float | None = None
    progress: float | None = None


class TimeLimitedStore(StoreWrapper):
    """Costs nothing beside a timer for each call, and for each drain a second thread. See `TimeLimitedSource` for reading."""

    def __init__(self, inner: Store, limits: TimeLimits) -> None:
        super().__init__(inner)
        self._limits = limits

    async def open(self) -> None:
        async with within(self.store_id, "opening the store", self._limits.open):
            await self.inner.open()

    async def free_space(self) -> int | None:
        async with within(self.store_id, "asking for free space", self._limits.call):
            return await self.inner.free_space()

    def writer(self, image_id: str) -> Writer:
        return TimeLimitedWriter(self.inner.writer(image_id), self.store_id, self._limits)

    def resume(self, image_id: str, trace: str) -> Writer:
        return TimeLimitedWriter(self.inner.resume(image_id, trace), self.store_id, self._limits)

    def open_reader(self, location: Location) -> Source:
        if self._limits.open is None and self._limits.progress is None:
            return self.inner.open_reader(location)
        make = partial(self.inner.open_reader, location)
        return TimeLimitedSource(make, self.store_id, opening=self._limits.open, progress=self._limits.progress)

    async def stat(self, location: Location) -> ObjectStat:
        async with within(self.store_id, "stat", self._limits.call):
            return await self.inner.stat(location)

    async def delete(self, location: Location) -> None:
        async with within(self.store_id, "delete", self._limits.call):
            await self.inner.delete(location)

    async def discard(self, trace: str) -> None:
        async with within(self.store_id, "discard", self._limits.call):
            await self.inner.discard(trace)

    async def published(self, trace: str) -> Location | None:
        async with within(self.store_id, "looking for an object", self._limits.call):
            return await self.inner.published(trace)

    async def strays(self) -> list[Stray]:
        async with within(self.store_id, "listing strays", self._limits.call):
            return await self.inner.strays()

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        """Each call of it has its limit, however many strays there are."""
        return await Store.sweep(self, older_than, spare)

    async def find(self, image_id: str) -> Location | None:
        async with within(self.store_id, "find", self._limits.call):
            return await self.inner.find(image_id)


class TimeLimitedWriter(WriterWrapper):
    """The lane is the inner writer's own, watched from outside."""

    def __init__(self, inner: Writer, store_id: str, limits: TimeLimits) -> None:
        super().__init__(inner)
        self._store_id = store_id
        self._limits = limits
        self._ring: Ring | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        async with within(self._store_id, "opening a writer", self._limits.open):
            await self.inner.open(size_hint, thin=thin)

    def attach(self, ring: Ring) -> Lane:
        lane = self.inner.attach(ring)
        if self._limits.progress is not None:  # else nobody would let go of it
            self._ring = ring
        return lane

    def drain(self, lane: Lane) -> None:
        if self._limits.progress is None:
            return self.inner.drain(lane)
        assert self._ring is not None, "attach comes first"
        ring, self._ring = self._ring, None
        draining = threads.THREADS.submit(self.inner.drain, lane)
        patience = _Patience(self._limits.progress)
        while not draining.done():
            wait([draining], timeout=min(WATCH_SECONDS, self._limits.progress / 4))
            waits_for_bytes = lane.position == ring.produced and not (ring.finished or ring.failed or lane.detached)
            if patience.is_over(lane.position, waits_for_bytes) and not draining.done():
                lane.detach()
                raise StoreTimeout(self._store_id, f"nothing was written for {self._limits.progress:g} s")
        return draining.result()

    async def published(self) -> Location | None:
        async with within(self._store_id, "looking for an object", self._limits.call):
            return await self.inner.published()

    async def abort(self) -> None:
        async with within(self._store_id, "abort", self._limits.call):
            await self.inner.abort()


class _Patience:
    """How long a position may stand still. Counted from the look that first finds it so: never less than the limit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen = -1
        self._since: float | None = None

    def is_over(self, position: int, excused: bool) -> bool:
        now = time.monotonic()
        if position != self._seen or excused:
            self._seen, self._since = position, None
            return False
        self._since = now if self._since is None else self._since
        return now - self._since > self._seconds


@asynccontextmanager
async def within(store_id: str, verb: str, seconds: float | None) -> AsyncIterator[None]:
    """StoreTimeout when what is in it has not ended within ``seconds``: it is cancelled then."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise  # the store's own
        raise StoreTimeout(store_id, f"{verb} has not ended within {seconds:g} s") from error
