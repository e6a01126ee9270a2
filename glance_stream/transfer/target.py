"""One store's part of a transfer: every call to it, under its time limit and with its undo registered.

A call that is given up (time limit, cancellation) goes on in its thread. So the undo of an opening or a commit first waits for
that call to end and then removes what it made; if it does not end in time, that is a leftover.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from glance_stream import threads
from glance_stream.chunker import Lane, Ring
from glance_stream.errors import GlanceStreamError, StoreError, StoreTimeout
from glance_stream.model import Location
from glance_stream.rollback import Rollback
from glance_stream.stores.base import Store, Writer
from glance_stream.transfer.request import Limits, Verified

T = TypeVar("T")


class Target:
    """A store that the image is on its way to. ``error`` is set once it has failed; ``location`` once it has committed."""

    def __init__(self, store: Store, rollback: Rollback, limits: Limits) -> None:
        self.store = store
        self.store_id = store.store_id
        self.error: GlanceStreamError | None = None
        self.location: Location | None = None
        self._rollback = rollback
        self._limits = limits
        self._writer: Writer | None = None
        self._lane: Lane | None = None

    @property
    def live(self) -> bool:
        return self.error is None

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._lane.position if self._lane is not None else 0

    @property
    def busy_for(self) -> float:
        """Seconds that the store has been writing its present slot."""
        return self._lane.busy_for if self._lane is not None else 0.0

    @property
    def writer(self) -> Writer:
        assert self._writer is not None, "the target is not open"
        return self._writer

    async def open(self, image_id: str, size_hint: int | None, thin: bool) -> None:
        """Open the writer; what it made so far is removed by a rollback from now on."""
        if self.store.traits.needs_size and size_hint is None:
            raise StoreError(self.store_id, "the store must know the image's size beforehand, and the source does not tell it")
        thin = thin and self.store.traits.thin
        opening = asyncio.ensure_future(self.store.open_writer(image_id, size_hint, thin=thin))
        self._rollback.push(self.store_id, f"being opened for {image_id}", lambda: _abort_opened(opening))
        self._writer = await self._timed("open", opening)
        self._rollback.replace(self.store_id, self.writer.trace, self.writer.abort)

    def attach(self, ring: Ring) -> None:
        self._lane = self.writer.attach(ring)

    async def drain(self) -> None:
        """Write the stream on a thread of its own."""
        assert self._lane is not None, "the target is not attached"
        await threads.call(self.writer.drain, self._lane)

    def detach(self) -> None:
        """Hold up the others no longer."""
        if self._lane is not None:
            self._lane.detach()

    def check_stuck(self) -> None:
        """Raises StoreTimeout when one slot has taken the store longer than its time limit."""
        if self.busy_for > self._limits.store_timeout:
            raise StoreTimeout(self.store_id, f"one write has not ended within {self._limits.store_timeout:g} s")

    async def flush(self, size: int) -> None:
        await self._timed("flush", asyncio.ensure_future(self.writer.flush(size)))

    async def commit(self, verified: Verified) -> Location:
        """Commit; from its start on the undo is a delete."""
        writer, store = self.writer, self.store
        committing = asyncio.ensure_future(writer.commit(verified.size, verified.digests))
        self._rollback.replace(self.store_id, writer.trace, lambda: _undo_commit(committing, writer, store))
        self.location = await self._timed("commit", committing)
        return self.location

    async def fail(self, error: GlanceStreamError) -> None:
        """This store is out: the others go on, what it wrote is removed."""
        self.error = error
        self.location = None
        self.detach()
        await self._rollback.undo(self.store_id)

    async def _timed(self, verb: str, call: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.store_timeout):
                return await asyncio.shield(call)
        except TimeoutError as error:
            threads.abandon(call)
            raise StoreTimeout(self.store_id, f"{verb} has not ended within {self._limits.store_timeout:g} s") from error
        except asyncio.CancelledError:
            threads.abandon(call)
            raise


async def _abort_opened(opening: asyncio.Future[Writer]) -> None:
    await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().abort()


async def _undo_commit(committing: asyncio.Future[Location], writer: Writer, store: Store) -> None:
    await asyncio.wait([committing])
    if not committing.cancelled() and committing.exception() is None:
        await store.delete(committing.result())
    else:
        await writer.abort()


def as_store_error(store_id: str, error: Exception) -> GlanceStreamError:
    """A store's failure as this package's error; a bug in a driver is that store's failure, not a crash of the transfer."""
    if isinstance(error, GlanceStreamError):
        return error
    wrapped = StoreError(store_id, f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
