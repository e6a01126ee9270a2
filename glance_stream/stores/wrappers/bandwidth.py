"""A store whose bytes, written and read, keep to one or more bandwidth limits.

A native lane can't be slowed from here. So the stream is let into a small ring of its own at the permitted pace, and the inner
writer drains that one as it would drain the first: natively, leaving holes, in parts, within its time limits, none of which
counts the waiting for the pace. Zeros that the store leaves out are not counted.

What a resumed writer has there already is paid for all the same: what it will keep is not known before it has come.

It costs two more slots of memory for each image that is written, one copy of its bytes, and a thread. The position of the outer
lane is ahead of what is written by those two slots at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import wait

from glance_stream import threads
from glance_stream.chunker import Lane, LaneStopped, Ring, Slot
from glance_stream.errors import SourceError, StoreError
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import Store, Writer
from glance_stream.stores.wrappers.token_bucket import Bandwidth
from glance_stream.stores.wrappers.wrapper import SourceWrapper, StoreWrapper, WriterWrapper

SLOTS = 2  # one is written while the next is filled

# What goes at once: small beside a burst, so that the stores that share a limit take short turns; whole pages.
MOST_PIECE = 1 << 20
PAGE = 4096


class Pace:
    """Limits that hold together."""

    def __init__(self, limits: tuple[Bandwidth, ...]) -> None:
        self._limits = limits
        self.piece = min(MOST_PIECE, *(limit.burst // PAGE * PAGE for limit in limits))

    def keep(self, size: int, stopped: Callable[[], bool]) -> bool:
        """Wait until ``size`` bytes, at most a piece, may go. False soon after ``stopped`` says so."""
        return all(limit.take(size, stopped) for limit in self._limits)


class PacedStore(StoreWrapper):
    """``limits``: its own, those it shares with others, or both. Its own come first: who waits for those is in nobody's way."""

    def __init__(self, inner: Store, *limits: Bandwidth) -> None:
        super().__init__(inner)
        self._pace = Pace(limits)

    def writer(self, image_id: str) -> Writer:
        return PacedWriter(self.inner.writer(image_id), self._pace, self.store_id)

    def resume(self, image_id: str, trace: str) -> Writer:
        return PacedWriter(self.inner.resume(image_id, trace), self._pace, self.store_id)

    def open_reader(self, location: Location) -> Source:
        return PacedSource(self.inner.open_reader(location), self._pace)


class PacedWriter(WriterWrapper):
    """What waits for the pace ends within a tenth of a second when the lane is detached, the ring fails or the writer ends."""

    def __init__(self, inner: Writer, pace: Pace, store_id: str) -> None:
        super().__init__(inner)
        self._pace = pace
        self._store_id = store_id
        self._thin = False
        self._ended = threading.Event()
        self._outer: Ring | None = None
        self._ring: Ring | None = None
        self._lane: Lane | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        self._thin = thin
        await self.inner.open(size_hint, thin=thin)

    def attach(self, ring: Ring) -> Lane:
        own = Ring(SLOTS, ring.slot_size)
        self._lane = self.inner.attach(own)
        self._outer, self._ring = ring, own
        return ring.lane()

    def drain(self, lane: Lane) -> None:
        assert self._ring is not None, "attach comes first"
        assert self._lane is not None
        feeding = threads.THREADS.submit(self._feed, lane)
        try:
            self.inner.drain(self._lane)
        finally:
            self._ring.fail()  # the feeding ends, wherever it is: nobody takes what it brings any more
            lane.detach()
            wait([feeding])
            self._ring = self._lane = self._outer = None  # two slots of memory
            if (cause := feeding.exception()) is not None and not isinstance(cause, LaneStopped):
                raise cause

    def _feed(self, lane: Lane) -> None:
        """From the outer ring into our own, piece by piece."""
        ring, outer = self._ring, self._outer
        assert ring is not None
        assert outer is not None

        def stopped() -> bool:
            return lane.detached or outer.failed or ring.failed

        try:
            for slot in lane:
                self._copy(slot, ring, stopped)
            ring.finish()
        except BaseException:
            ring.fail()
            raise

    def _copy(self, slot: Slot, ring: Ring, stopped: Callable[[], bool]) -> None:
        free = self._thin and slot.zero
        with slot.view as view, ring.reserve() as room:
            for at in range(0, len(view), self._pace.piece):
                with view[at : at + self._pace.piece] as piece:
                    if not free and not self._pace.keep(len(piece), stopped):
                        raise LaneStopped("the lane was detached or the ring failed")
                    room[at : at + len(piece)] = piece
        ring.publish(slot.length)

    def write(self, view: memoryview) -> None:
        with view.cast("B") as whole:
            for at in range(0, len(whole), self._pace.piece):
                with whole[at : at + self._pace.piece] as piece:
                    if not self._pace.keep(len(piece), self._ended.is_set):
                        raise StoreError(self._store_id, "the writer has ended")
                    self.inner.write(piece)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        self._ended.set()
        return await self.inner.commit(size, digests)

    async def abort(self) -> None:
        self._ended.set()
        await self.inner.abort()


class PacedSource(SourceWrapper):
    """Read through ``readinto``, never natively. A piece is paid for when it has come: only then is its size known."""

    def __init__(self, inner: Source, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace
        self._stopped = threading.Event()

    def readinto(self, view: memoryview) -> int:
        with view[: self._pace.piece] as piece:
            count = self.inner.readinto(piece)
        if count and not self._pace.keep(count, self._stopped.is_set):
            raise SourceError(f"reading {self.name} was interrupted")
        return count

    def fileno(self) -> int | None:
        return None

    def interrupt(self) -> None:
        self._stopped.set()
        self.inner.interrupt()

    def close(self) -> None:
        self._stopped.set()
        self.inner.close()
