"""A source that goes wrong at a given byte."""

from __future__ import annotations

import threading

from faults.fault import PATIENCE
from glance_stream.errors import SourceError
from glance_stream.sources.base import Source, SourceInfo


class FaultySource(Source):
    """Gives ``data``, at most 10 000 bytes at a time.

    fails_at / blocks_at: the byte before which it fails, or blocks until interrupted. announced: the size it claims, by default
    the true one. unknown_size: it claims none. changes: verify_unchanged fails. opening_blocks: open does, until interrupted.
    """

    def __init__(
        self,
        data: bytes,
        *,
        fails_at: int | None = None,
        blocks_at: int | None = None,
        announced: int | None = None,
        unknown_size: bool = False,
        changes: bool = False,
        opening_blocks: bool = False,
    ) -> None:
        self.name = "the source"
        self._data = data
        self._at = 0
        self._fails_at = fails_at
        self._blocks_at = blocks_at
        self._size = None if unknown_size else len(data) if announced is None else announced
        self._changes = changes
        self._opening_blocks = opening_blocks
        self._interrupted = threading.Event()
        self.blocked = threading.Event()
        self.opened = self.closed = 0

    def open(self) -> SourceInfo:
        if self._opening_blocks:
            self._block()
        self.opened += 1
        return SourceInfo(self._size)

    def readinto(self, view: memoryview) -> int:
        stop = min(at for at in (self._fails_at, self._blocks_at, len(self._data)) if at is not None)
        if self._at == self._fails_at:
            raise SourceError(f"broken at byte {self._at}")
        if self._at == self._blocks_at:
            self._block()
        n = min(len(view), stop - self._at, 10_000)
        view[:n] = self._data[self._at : self._at + n]
        self._at += n
        return n

    def _block(self) -> None:
        self.blocked.set()
        self._interrupted.wait(PATIENCE)
        raise SourceError("interrupted")

    def verify_unchanged(self) -> None:
        if self._changes:
            raise SourceError("changed while it was read")

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        self.closed += 1
