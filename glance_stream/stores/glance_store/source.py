"""An image of a glance_store driver as a source.

The driver's iterator can't be interrupted, so it runs on a thread that may be abandoned: it gives up to a slot's bytes at a time,
which are copied once. Memory: as much as is asked for at once, and one of the driver's chunks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from glance_stream import threads
from glance_stream.errors import SourceError, StoreUnavailable
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.glance_store.backend import Backend, close
from glance_stream.stores.glance_store.errors import mapped
from glance_stream.stores.glance_store.places import without_credentials

T = TypeVar("T")


class StoredImage(Source):
    """The driver tells no validator: that it is the same content after a `reopen` is told by its size alone."""

    def __init__(self, backend: Backend, url: str) -> None:
        """``url``: the driver's own."""
        self.name = without_credentials(url)
        self._backend = backend
        self._url = url
        self._size: int | None = None
        self._chunks: _Chunks | None = None
        self._interrupted = False
        self._wake = threading.Event()

    def open(self) -> SourceInfo:
        self._size = None
        self._begin(0)
        return SourceInfo(size=self._size)

    def reopen(self, offset: int) -> None:
        if self._size is None:
            raise SourceError(f"{self.name} has not been opened: nothing tells whether this is the same content")
        self._begin(offset)

    def readinto(self, view: memoryview) -> int:
        if self._chunks is None:
            raise SourceError(f"{self.name} is not open")
        count = self._on_thread(self._chunks.fill, len(view))
        view[:count] = self._chunks.taken
        return count

    def interrupt(self) -> None:
        self._interrupted = True
        self._wake.set()

    def close(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            chunks.close()

    def _begin(self, offset: int) -> None:
        self.close()
        chunks = _Chunks(self._backend, self._url, offset)
        self._chunks = chunks
        size = self._on_thread(chunks.open)
        if self._size is not None and size != self._size:
            self.close()
            raise SourceError(f"{self.name} has changed: it had {self._size} bytes and has {size}")
        self._size = size

    def _on_thread(self, call: Callable[..., T], *args: Any) -> T:
        """Raises SourceError as soon as the source is interrupted; the call is abandoned, and closes what it has opened."""
        self._wake.clear()
        if self._interrupted:
            raise SourceError(f"reading {self.name} was interrupted")
        future: Future[T] = threads.THREADS.submit(call, *args)
        future.add_done_callback(lambda _: self._wake.set())
        self._wake.wait()
        if not future.done():
            self.close()
            raise SourceError(f"reading {self.name} was interrupted")
        return future.result()


class _Chunks:
    """One run through the driver's iterator. Closed by whoever is last: the call under way, or `close`."""

    def __init__(self, backend: Backend, url: str, offset: int) -> None:
        self.taken = b""
        self._backend = backend
        self._url = url
        self._position = offset
        self._size = 0
        self._skip = 0
        self._left = b""
        self._iterable: Any = None
        self._iterator: Any = None
        self._closed = False
        self._using = threading.Lock()

    def open(self) -> int:
        with self._using:
            self._iterable, self._size, self._skip = self._backend.read(self._url, self._position)
            self._iterator = iter(self._iterable)
        self._close_unused()
        return self._size

    def fill(self, size: int) -> int:
        """Put up to ``size`` bytes into ``taken``: 0 at the end of the complete object."""
        try:
            with self._using, mapped(self._backend.store_id, self._backend.mask):
                self.taken = self._take(size)
        finally:
            self._close_unused()
        return len(self.taken)

    def close(self) -> None:
        self._closed = True
        self._close_unused()

    def _take(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size and (self._left or self._next()):
            piece = self._left[:size]
            pieces.append(piece)
            self._left = self._left[len(piece) :]
            size -= len(piece)
            self._position += len(piece)
        if size and self._position != self._size:
            raise StoreUnavailable(self._backend.store_id, f"the object ended at byte {self._position} of {self._size}")
        return b"".join(pieces)

    def _next(self) -> bool:
        """Whether there is one more chunk; what is before the offset is dropped."""
        for chunk in self._iterator:
            drop = min(self._skip, len(chunk))
            self._skip -= drop
            self._left = chunk[drop:]
            if self._left:
                return True
        return False

    def _close_unused(self) -> None:
        if self._closed and self._using.acquire(blocking=False):
            try:
                for each in (self._iterator, self._iterable):
                    close(each)
                self._iterator = self._iterable = None
            finally:
                self._using.release()
