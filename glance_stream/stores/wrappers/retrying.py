"""A store that is asked again when it fails in a way that may pass (`glance_stream.retry`).

Asked again is what does no harm twice: open, free_space, stat, find, strays, discard, delete,
abort, and the reading of an object, which goes on at the byte where it broke.

Not asked again, each for its reason:

- a writer's opening: it is opened once, under a trace that was recorded before. But the store is opened first, with retries, so
  that it is known to answer just then.
- a write, a drain: what arrived of it is not known. A store that sends parts tries each part again by itself, with the same policy.
- a flush: a second fsync after one that failed says that all is well when it is not ("fsyncgate", PostgreSQL, 2018).
- a commit: one that failed is in doubt, and whoever holds the image's lock has to look.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Collection

from glance_stream.errors import GlanceStreamError, NotFound
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import ObjectStat, Store, Stray, Writer
from glance_stream.stores.wrappers.wrapper import SourceWrapper, StoreWrapper, WriterWrapper


class RetryingStore(StoreWrapper):
    """Costs nothing while all goes well; lanes stay the inner store's own."""

    def __init__(self, inner: Store, policy: RetryPolicy | None = None) -> None:
        super().__init__(inner)
        self._policy = policy or RetryPolicy()

    async def open(self) -> None:
        await self._policy.run_async(self.inner.open)

    async def free_space(self) -> int | None:
        return await self._policy.run_async(self.inner.free_space)

    def writer(self, image_id: str) -> Writer:
        return RetryingWriter(self.inner.writer(image_id), self._policy, self.open)

    def resume(self, image_id: str, trace: str) -> Writer:
        return RetryingWriter(self.inner.resume(image_id, trace), self._policy, self.open)

    def open_reader(self, location: Location) -> Source:
        return RetryingSource(lambda: self.inner.open_reader(location), self._policy)

    async def stat(self, location: Location) -> ObjectStat:
        return await self._policy.run_async(self.inner.stat, location)

    async def delete(self, location: Location) -> None:
        """A try that failed may have deleted all the same: that the object is gone after it is what was wanted."""
        tried = False

        async def attempt() -> None:
            nonlocal tried
            try:
                await self.inner.delete(location)
            except NotFound:
                if not tried:
                    raise
            finally:
                tried = True

        await self._policy.run_async(attempt)

    async def discard(self, trace: str) -> None:
        await self._policy.run_async(self.inner.discard, trace)

    async def published(self, trace: str) -> Location | None:
        return await self._policy.run_async(self.inner.published, trace)

    async def strays(self) -> list[Stray]:
        return await self._policy.run_async(self.inner.strays)

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        """Stray by stray: a second sweep would not tell what the first has removed."""
        return await Store.sweep(self, older_than, spare)

    async def find(self, image_id: str) -> Location | None:
        return await self._policy.run_async(self.inner.find, image_id)


class RetryingWriter(WriterWrapper):
    """Nothing of a write is done twice but its undo."""

    def __init__(self, inner: Writer, policy: RetryPolicy, open_store: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._policy = policy
        self._open_store = open_store

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        await self._open_store()
        await self.inner.open(size_hint, thin=thin)

    async def published(self) -> Location | None:
        return await self._policy.run_async(self.inner.published)

    async def abort(self) -> None:
        await self._policy.run_async(self.inner.abort)


class RetryingSource(SourceWrapper):
    """Goes on where the reading broke; each byte read begins a new row of tries.

    What is read natively, through ``fileno``, is not tried again.
    """

    def __init__(self, make: Callable[[], Source], policy: RetryPolicy) -> None:
        """``make``: a source that is not open yet, for each try to open one. Raises what it raises."""
        super().__init__(make())
        self._make = make
        self._policy = policy
        self._tried = False
        self._offset = 0
        self._lock = threading.Lock()  # an interrupt reaches the source that is read, or the one that takes its place
        self._stopped = threading.Event()

    def open(self) -> SourceInfo:
        return self._policy.run(self._open, self._stopped)

    def _open(self) -> SourceInfo:
        if self._tried:
            self._renew()
        self._tried = True
        return self.inner.open()

    def _renew(self) -> None:
        self.inner.close()
        fresh = self._make()
        with self._lock:
            self.inner = fresh
            if self._stopped.is_set():
                fresh.interrupt()

    def reopen(self, offset: int) -> None:
        self._policy.run(lambda: self.inner.reopen(offset), self._stopped)
        self._offset = offset

    def readinto(self, view: memoryview) -> int:
        failures, broke = self._policy.begin(), False
        while True:
            try:
                if broke:
                    self.inner.reopen(self._offset)
                count = self.inner.readinto(view)
            except GlanceStreamError as error:
                failures.pause(error, self._stopped)
                broke = True
            else:
                self._offset += count
                return count

    def interrupt(self) -> None:
        with self._lock:
            self._stopped.set()
            self.inner.interrupt()

    def close(self) -> None:
        self._stopped.set()
        super().close()
