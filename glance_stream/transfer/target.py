"""One store's part of a transfer: every call to it, under its time limit and with its undo registered.

The writer is made, and its trace recorded, before the store is touched: whatever is left, and by whatever death, is known by name.

A call that is given up (time limit, cancellation) goes on in its thread. So the undo of an opening or a commit first waits for
that call to end and then removes what it made; if it does not end in time, that is a leftover.

A commit that failed is in doubt: the store may hold the image all the same (an answer was lost). Its undo asks the writer. What
others have put under the image's name meanwhile is not ours to delete: the image's lock keeps out neither Glance nor another site
with the same store. Where even that can't be told, the leftover is the writer's trace, and its reason says that the commit is in
doubt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from glance_stream import threads
from glance_stream.chunker import Lane, Ring
from glance_stream.errors import Duplicate, GlanceStreamError, NotFound, StoreError, StoreTimeout
from glance_stream.model import Location
from glance_stream.rollback import Rollback
from glance_stream.stores.base import Store, Writer
from glance_stream.transfer.adopting import AdoptingWriter
from glance_stream.transfer.request import Limits, Verified

LOG = logging.getLogger(__name__)

T = TypeVar("T")

BeforeUndo = Callable[[Location], Awaitable[None]]  # `Recorder.undoing`


class Target:
    """A store that the image is on its way to.

    ``error`` is set once it has failed; ``location`` once it has committed. ``adopting``: the object in it was there before and is
    not ours; no undo touches it.
    """

    def __init__(self, store: Store, rollback: Rollback, limits: Limits) -> None:
        self.store = store
        self.store_id = store.store_id
        self.error: GlanceStreamError | None = None
        self.location: Location | None = None
        self.adopting = False
        self._image_id = ""
        self._left: str | None = None  # the trace of a dead writer that is still there
        self._resumed = False
        self._rollback = rollback
        self._limits = limits
        self._writer: Writer | None = None
        self._ring: Ring | None = None
        self._lane: Lane | None = None
        self._seen = -1  # position at the last look, and when it was first seen
        self._seen_at = 0.0

    @property
    def live(self) -> bool:
        return self.error is None

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._lane.position if self._lane is not None else 0

    @property
    def behind(self) -> bool:
        """Whether it is the store's turn: it has bytes to write, or the stream has ended and it has to come to an end too."""
        return self._ring is not None and (self._ring.finished or self.position < self._ring.produced)

    @property
    def writer(self) -> Writer:
        assert self._writer is not None, "the target has no writer"
        return self._writer

    def take_over(self, trace: str) -> None:
        """What the dead writer of this trace has left is ours now, to be gone on with or removed: by a rollback if nothing else."""
        self._left = trace
        self._rollback.push(self.store_id, trace, lambda: self.store.discard(trace))

    async def prepare(self, image_id: str, size_hint: int | None, thin: bool) -> None:
        """Make the writer, so that its trace is known. The store is not touched, unless there is something to go on with."""
        if self.store.traits.needs_size and size_hint is None:
            raise StoreError(self.store_id, "the store must know the image's size beforehand, and the source does not tell it")
        self._image_id = image_id
        if self._left is not None:
            self._resumed = await self._resume(self._left, size_hint, thin)
        if not self._resumed:
            self._writer = self.store.writer(image_id)

    async def _resume(self, trace: str, size_hint: int | None, thin: bool) -> bool:
        """Whether the writer goes on with what is there. What can't be gone on with is removed."""
        try:
            self._writer = self.store.resume(self._image_id, trace)
        except StoreError as error:
            await self._begin_anew(error)
            return False
        try:
            await self._open(self._writer, size_hint, thin)
        except (NotFound, Duplicate) as error:
            await self._begin_anew(error)
            return False
        return True

    async def _begin_anew(self, reason: StoreError) -> None:
        LOG.info("store %r: what an interrupted transfer has left can't be gone on with: %s", self.store_id, reason)
        await self._rollback.undo(self.store_id)

    @property
    def kept(self) -> int | None:
        """Bytes that a dead writer had left and that did not have to be written again; None where there was none to go on with."""
        return self.writer.kept if self._resumed and self.live and not self.adopting else None

    async def open(self, size_hint: int | None, thin: bool) -> None:
        """Open the writer; what it makes is removed by a rollback from now on."""
        if not self._resumed:
            await self._open(self.writer, size_hint, thin)

    async def compare(self, taken: Duplicate, size: int | None, forgiving: bool) -> None:
        """The writer could not be opened, since an object is there: from now on the stream is compared with that."""
        await self.withdraw(taken)
        self._writer = AdoptingWriter(self.store, self._image_id, taken, self._limits, size=size, forgiving=forgiving)
        await self._open(self._writer, size, thin=False)

    async def withdraw(self, taken: Duplicate) -> None:
        """Nothing here is ours any more. Raises ``taken`` where that can't be made sure of."""
        await self._rollback.undo(self.store_id)
        if any(left.store_id == self.store_id for left in self._rollback.leftovers):
            raise taken
        self.adopting = True

    async def _open(self, writer: Writer, size_hint: int | None, thin: bool) -> None:
        opening = asyncio.ensure_future(writer.open(size_hint, thin=thin and self.store.traits.thin))
        # Shielded: when the undo is given up because the opening hangs, what comes of it in the end is aborted even so.
        self._rollback.replace(self.store_id, writer.trace, lambda: asyncio.shield(_abort_opened(writer, opening)))
        await self._timed("open", opening)
        self._rollback.replace(self.store_id, writer.trace, writer.abort)

    def attach(self, ring: Ring) -> None:
        self._lane = self.writer.attach(ring)
        self._ring = ring
        self._seen_at = time.monotonic()

    async def drain(self) -> None:
        """Write the stream on a thread of its own."""
        await threads.call(self._drain)

    def _drain(self) -> None:
        assert self._lane is not None, "the target is not attached"
        try:
            self.writer.drain(self._lane)
        finally:
            self._lane.detach()  # also a driver that returns early must not hold up the others

    def detach(self) -> None:
        """Hold up the others no longer."""
        if self._lane is not None:
            self._lane.detach()

    def check_stuck(self) -> None:
        """Raises StoreTimeout when the store, although behind, has not moved within its time limit."""
        now, position = time.monotonic(), self.position
        if position != self._seen or not self.behind:
            self._seen, self._seen_at = position, now
        elif now - self._seen_at > self._limits.store_timeout:
            raise StoreTimeout(self.store_id, f"one write has not ended within {self._limits.store_timeout:g} s")

    async def flush(self, size: int) -> None:
        await self._timed("flush", asyncio.ensure_future(self.writer.flush(size)))

    async def commit(self, verified: Verified, before_undo: BeforeUndo) -> Location:
        """Commit; from its start on the undo is a delete, but of an object that was there before."""
        committing = asyncio.ensure_future(self.writer.commit(verified.size, verified.digests))
        if not self.adopting:
            commit = _Commit(self.store, self.writer, committing, self._rollback, before_undo)
            self._rollback.replace(self.store_id, commit.trace, commit.undo, commit.in_doubt)
        self.location = await self._timed("commit", committing)
        return self.location

    async def fail(self, error: GlanceStreamError) -> None:
        """This store is out: the others go on, what it wrote is removed."""
        self.error = error
        self.location = None
        self.detach()
        await self._rollback.undo(self.store_id)

    async def _timed(self, verb: str, call: asyncio.Future[T]) -> T:
        limit = asyncio.timeout(self._limits.store_timeout)
        try:
            async with limit:
                return await asyncio.shield(call)
        except TimeoutError as error:
            if not limit.expired():
                raise  # the store's own
            threads.abandon(call)
            raise StoreTimeout(self.store_id, f"{verb} has not ended within {self._limits.store_timeout:g} s") from error
        except asyncio.CancelledError:
            threads.abandon(call)
            raise


async def _abort_opened(writer: Writer, opening: asyncio.Future[None]) -> None:
    """Once the opening has ended, well or not: nothing is made after the abort."""
    await asyncio.wait([opening])
    threads.abandon(opening)
    await writer.abort()


class _Commit:
    """A commit from its start on, and its undo."""

    def __init__(
        self, store: Store, writer: Writer, call: asyncio.Future[Location], rollback: Rollback, before_undo: BeforeUndo
    ) -> None:
        self._store = store
        self._writer = writer
        self._call = call
        self._rollback = rollback
        self._before_undo = before_undo
        self._object: Location | None = None
        self._settled = False

    def trace(self) -> str:
        """The object once one is known of, what the writer leaves before that."""
        return self._object.url if self._object is not None else self._writer.trace

    def in_doubt(self) -> bool:
        """Whether there may be an object of ours that nobody knows of."""
        return self._object is None and not self._settled

    async def undo(self) -> None:
        # Shielded: what a commit that hung has made is deleted when it ends after all, whoever has stopped waiting.
        if await asyncio.shield(self._delete_committed()):
            return
        aborted = False
        try:
            await self._writer.abort()
            aborted = True
        finally:
            try:
                await self._delete_published()
            finally:
                if not aborted and self._object is not None:  # two things are left, and this step's failure names the object
                    self._rollback.lose(self._store.store_id, self._writer.trace, "could not be removed, nor could the object")

    async def _delete_committed(self) -> bool:
        """Wait for the commit to end; whether it ended well."""
        await asyncio.wait([self._call])
        if self._call.cancelled() or self._call.exception() is not None:
            return False
        self._object = self._call.result()
        if await self._writer.published() is not None:  # who was silent for long may find another's in its place
            await self._delete(self._object)
        return True

    async def _delete_published(self) -> None:
        self._object = await self._writer.published()
        if self._object is not None:
            await self._delete(self._object)
            self._object = None
        self._settled = True

    async def _delete(self, found: Location) -> None:
        await self._before_undo(found)  # this writer has made it, and another may have adopted it
        await self._store.delete(found)


def as_store_error(store_id: str, error: Exception) -> GlanceStreamError:
    """A store's failure as this package's error; a bug in a driver is that store's failure, not a crash of the transfer."""
    if isinstance(error, GlanceStreamError):
        return error
    wrapped = StoreError(store_id, f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
