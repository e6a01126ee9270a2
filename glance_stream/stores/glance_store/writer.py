"""Writing one image through a glance_store driver: we push into a call that pulls."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from glance_stream import threads
from glance_stream.errors import Duplicate, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.glance_store.backend import Backend
from glance_stream.stores.glance_store.driver import Driver
from glance_stream.stores.glance_store.errors import as_ours
from glance_stream.stores.glance_store.feed import Feed, ReaderGone, StreamBroken

ALGORITHM = "sha256"  # a driver has to be asked for one beside its md5; the cheapest where the processor has instructions for it


class Added(NamedTuple):
    """What a driver's ``add`` returns."""

    url: str
    written: int
    checksum: str  # md5
    multihash: str
    metadata: Any


class Writers(Protocol):
    """The store's writers that have begun and not ended: one of an image at a time."""

    def begin(self, writer: GlanceStoreWriter) -> None: ...
    def end(self, writer: GlanceStoreWriter) -> None: ...


class GlanceStoreWriter(Writer):
    """One ``add`` of a driver, on a thread of its own from `open` to `commit` or `abort`.

    Known to be this writer's is only what the driver has given a location of. After an ``add`` that failed a driver cleans up
    itself; if something is there all the same, it is taken for a part of this image if the driver has not read the whole of it
    and there is no more than it has read. Whatever else is there may be another Glance's: it stays, and the abort raises.
    """

    def __init__(self, backend: Backend, writers: Writers, image_id: str, trace: str) -> None:
        self.image_id = image_id
        self.trace = trace
        self._backend = backend
        self._writers = writers
        self._feed = Feed()
        self._told: int | None = None  # the image's size, if it is known beforehand
        self._position = 0
        self._flushed: int | None = None
        self._begun = self._ended = self._settled = False
        self._starting = threading.Lock()  # an abort waits for an opening under way
        self._driver: Driver | None = None
        self._add: Future[Added] | None = None
        self._published: Location | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        """Returns when the driver asks for the first byte. Whether it leaves out zeros is an option of the driver's."""
        if self._begun or self._ended:
            raise StoreError(self._backend.store_id, "a writer is opened once")
        self._begun = True
        self._told = size_hint or None
        self._writers.begin(self)
        await threads.call(self._start)

    def _start(self) -> None:
        with self._starting:
            if self._ended:
                raise StoreError(self._backend.store_id, "the writer has ended")
            driver = self._backend.drivers.get()
            if (found := self._backend.find(self.image_id)) is not None:
                raise Duplicate(self._backend.store_id, f"{self._backend.shown(driver, found)} is there already")
            self._driver = driver
            self._add = threads.THREADS.submit(self._run, driver)
        self._feed.wait_for_driver()
        if self._feed.reader_gone:
            raise self._driver_error()

    def _run(self, driver: Driver) -> Added:
        """Raises what the driver raises."""
        try:
            size = self._backend.place.announced(driver, self._told or 0)
            return Added(*driver.add(self.image_id, self._feed, size, hashing_algo=ALGORITHM))
        finally:
            self._feed.leave()

    def write(self, view: memoryview) -> None:
        with self._live():
            self._flushed = None
            if self._told is not None and self._position + view.nbytes > self._told:
                raise StoreError(self._backend.store_id, f"the image has more than the {self._told} bytes that were announced")
            self._feed.put(view)
            self._position += view.nbytes

    async def flush(self, size: int) -> None:
        """All but the last byte is with the driver; that it is durable nobody knows before the commit."""
        with self._live():
            if self._position != size or (self._told or size) != size:
                raise StoreError(self._backend.store_id, f"holds {self._position} bytes of {self._told or 'any'}, not {size}")
            if self._feed.reader_gone:
                raise ReaderGone
            self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        with self._live():
            pass  # a writer that has ended, or whose driver has, can't commit
        try:
            if size != self._flushed:
                raise StoreError(self._backend.store_id, f"commit of {size} bytes, {self._flushed} were flushed")
            return await threads.call(self._publish, size, digests)
        finally:
            self._ended = True
            self._feed.fail()  # not heard by a driver that has seen the end

    def _publish(self, size: int, digests: Mapping[str, str]) -> Location:
        """Let the driver finish, and believe nothing of what it says."""
        assert self._add is not None
        assert self._driver is not None
        try:
            self._feed.finish()
        except StreamBroken:
            raise StoreError(self._backend.store_id, "the writer was aborted while it committed") from None
        wait([self._add])
        if self._add.exception() is not None:
            raise self._driver_error()
        added = self._add.result()
        self._check(added, size, digests)
        metadata = self._backend.metadata(added.metadata)
        location = Location(self._backend.shown(self._driver, added.url), self._backend.store_id, metadata)
        with self._starting:
            if self._settled:
                raise StoreError(self._backend.store_id, "the writer was aborted while it committed")
            self._settle()
            self._published = location
        return location

    def _check(self, added: Added, size: int, digests: Mapping[str, str]) -> None:
        if added.written != size:
            raise StoreError(self._backend.store_id, f"the driver has written {added.written} bytes of {size}")
        for algorithm, found in (("md5", added.checksum), (ALGORITHM, added.multihash)):
            if digests.get(algorithm, found) != found:
                raise StoreError(self._backend.store_id, f"the driver's {algorithm} is not that of the image")
        held = self._backend.size(added.url)
        if held != size:
            raise StoreError(self._backend.store_id, f"the object has {held} bytes, not {size}")

    async def published(self) -> Location | None:
        """What `commit` returned. After any other commit an `abort` has to settle what there is; raises StoreError before."""
        if not self._settled and self._feed.finished:
            raise StoreError(self._backend.store_id, "can't tell what the driver has made of the image")
        return self._published

    async def abort(self) -> None:
        """Waits for the driver's ``add`` to end, however long that takes: until then it may write.

        Raises StoreError, again and again, while there is an object that may be this writer's or another's.
        """
        self._ended = True
        self._feed.fail()
        await threads.call(self._undo)

    def _undo(self) -> None:
        with self._starting:
            if self._settled:
                return
            if self._add is not None:
                wait([self._add])
                self._clean_up(self._add)
            self._settle()

    def _clean_up(self, add: Future[Added]) -> None:
        error = add.exception()
        if error is None:
            self._backend.remove([add.result().url])
        elif isinstance(as_ours(self._backend.store_id, error, self._backend.mask), Duplicate):
            pass  # another's
        elif self._feed.finished:
            self._writers.end(self)  # nothing more is written or removed: the name need not be kept for this
            self._backend.require_nothing(self.image_id)
        else:
            self._backend.remove_part(self.image_id, self._feed.taken)

    def _settle(self) -> None:
        """Committed, or nothing left: whatever is under the image's name from now on is no matter of this writer."""
        self._settled = True
        self._writers.end(self)

    @contextmanager
    def _live(self) -> Iterator[None]:
        """Raises StoreError unless the writer is open, and for a driver that is through before the image is."""
        if self._ended or self._add is None:
            raise StoreError(self._backend.store_id, "the writer has ended" if self._ended else "the writer is not open")
        try:
            yield
        except StreamBroken:
            raise StoreError(self._backend.store_id, "the writer has ended") from None
        except ReaderGone:
            raise self._driver_error() from None

    def _driver_error(self) -> StoreError:
        """Why the driver is through."""
        assert self._add is not None
        error = self._add.exception()
        if error is None:
            return StoreUnavailable(self._backend.store_id, "the driver stopped before the image was complete")
        return as_ours(self._backend.store_id, error, self._backend.mask)
