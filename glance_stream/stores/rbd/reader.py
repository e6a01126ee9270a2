"""Reading one image of an RBD store."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack
from typing import Any

from glance_stream import threads
from glance_stream.errors import SourceError, StoreError, StoreUnavailable
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.rbd.cluster import Cluster
from glance_stream.stores.rbd.errors import mapped, store_error
from glance_stream.stores.rbd.images import Images
from glance_stream.stores.rbd.names import Place
from glance_stream.stores.rbd.options import MIB

PIECE = 4 * MIB
READS_IN_FLIGHT = 4


class _Piece:
    """A read that was sent; ``content`` when it is answered, or the negative errno ``result``."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.taken = 0
        self.answered = False
        self.content = b""
        self.result = 0


class RbdSource(Source):
    """An image's snapshot, read ahead. Memory: `READS_IN_FLIGHT` pieces of `PIECE` bytes. Holes are read as zeros.

    An image without its snapshot is not there: it gets that when it is complete.
    """

    def __init__(self, store_id: str, cluster: Cluster, place: Place, name: str) -> None:
        self.name = name
        self._store_id = store_id
        self._cluster = cluster
        self._place = place
        self._held = ExitStack()
        self._image: Any = None
        self._identity: tuple[str, int, int] | None = None
        self._size = self._next = 0  # _next: where the next read begins
        self._ahead: deque[_Piece] = deque()
        self._changed = threading.Condition()
        self._in_flight = 0
        self._interrupted = False
        self._broken = False

    def open(self) -> SourceInfo:
        self._connect()
        return SourceInfo(size=self._size, validator="/".join(map(str, self._identity or ())))

    def _connect(self) -> None:
        with ExitStack() as opening:
            ioctx = opening.enter_context(self._cluster.pool())
            if self._place.fsid != self._cluster.fsid:
                raise StoreError(self._store_id, f"{self.name} is in another cluster than the store")
            opening.enter_context(mapped(self._store_id, f"{self.name} can't be read"))
            images = Images(self._store_id, self._cluster.bindings(), ioctx)
            image = opening.enter_context(images.opened(self._place.image, self._place.snapshot))
            identity = (image.id(), image.snap_get_id(self._place.snapshot), image.size())
            if self._identity not in (None, identity):
                raise SourceError(f"{self.name} is another image than the one that was opened")
            self._image, self._identity, self._size = image, identity, identity[2]
            self._held = opening.pop_all()
            self._broken = False

    def reopen(self, offset: int) -> None:
        self._forget_ahead()
        if self._image is None or self._broken:
            self._let_go()
            self._connect()
        self._next = offset

    def _forget_ahead(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight)
        self._ahead.clear()

    def readinto(self, view: memoryview) -> int:
        self._read_ahead()
        if not self._ahead:
            return 0
        piece = self._ahead[0]
        with self._changed:
            self._changed.wait_for(lambda: piece.answered or self._interrupted)
        self._require_going_on()
        self._require_answer(piece)
        count = min(len(view), piece.length - piece.taken)
        view[:count] = memoryview(piece.content)[piece.taken : piece.taken + count]
        piece.taken += count
        if piece.taken == piece.length:
            self._ahead.popleft()
        return count

    def _read_ahead(self) -> None:
        if self._image is None:
            raise StoreError(self._store_id, f"{self.name} is not open")
        self._require_going_on()
        while len(self._ahead) < READS_IN_FLIGHT and self._next < self._size:
            piece = _Piece(min(PIECE, self._size - self._next))
            self._send(piece)
            self._ahead.append(piece)
            self._next += piece.length

    def _send(self, piece: _Piece) -> None:
        def answered(completion: Any, content: bytes | None) -> None:
            with self._changed:
                piece.result = completion.get_return_value()
                piece.content = content or b""
                piece.answered = True
                self._in_flight -= 1
                self._changed.notify_all()

        with self._changed:
            self._in_flight += 1
        try:
            with mapped(self._store_id, f"{self.name} can't be read"):
                self._image.aio_read(self._next, piece.length, answered)
        except BaseException:
            with self._changed:
                self._in_flight -= 1
            self._broken = True
            raise

    def _require_going_on(self) -> None:
        if self._interrupted:
            raise SourceError(f"reading {self.name} was interrupted")

    def _require_answer(self, piece: _Piece) -> None:
        if piece.result < 0:
            self._broken = True
            raise store_error(self._store_id, -piece.result, f"{self.name} can't be read")
        if len(piece.content) != piece.length:
            self._broken = True
            raise StoreUnavailable(self._store_id, f"{self.name} gave {len(piece.content)} bytes, not {piece.length}")

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        if self._interrupted and self._in_flight:  # librbd waits for what is in flight, and nobody shall wait with it
            threads.THREADS.submit(self._let_go)
        else:
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, ExitStack()
        self._image = None
        with mapped(self._store_id, f"{self.name} can't be closed"):
            held.close()
        self._ahead.clear()
