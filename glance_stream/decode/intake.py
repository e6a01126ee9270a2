"""Compressed bytes with look-ahead: decompressors take more than they use, and headers are looked at before they are taken."""

from __future__ import annotations

from glance_stream.decode.base import CompressedReader
from glance_stream.errors import DecodeError

# What is asked of the reader at once. Below 64 KiB the calls show in a profile of inflate; above 256 KiB nothing is gained.
PIECE = 256 << 10


class Intake:
    """The compressed side of one decoder. Holds at most one piece, plus what was looked at across its end."""

    def __init__(self, reader: CompressedReader) -> None:
        self._reader = reader
        self._held = b""
        self._at = 0
        self._pulled = 0

    @property
    def position(self) -> int:
        """Offset of the next byte in the compressed stream."""
        return self._pulled - (len(self._held) - self._at)

    def piece(self, limit: int) -> memoryview:
        """The next bytes, at most ``limit``; none only at the end of the stream. Valid until the next call of any method."""
        if self._at == len(self._held):
            self._held, self._at = self._pull(), 0
        start, self._at = self._at, min(self._at + limit, len(self._held))
        return memoryview(self._held)[start : self._at]

    def give_back(self, unused: bytes) -> None:
        """Undo the taking of the last ``len(unused)`` bytes; they may reach back into earlier pieces, which are gone by now."""
        if len(unused) <= self._at:
            self._at -= len(unused)
        else:
            self._held, self._at = unused + self._held[self._at :], 0

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes without taking them; fewer only at the end."""
        while len(self._held) - self._at < size:
            more = self._pull()
            if not more:
                break
            self._held, self._at = self._held[self._at :] + more, 0
        return self._held[self._at : self._at + size]

    def exactly(self, size: int) -> bytes:
        """Take ``size`` bytes; DecodeError if the stream ends before."""
        taken = self.peek(size)
        if len(taken) < size:
            raise DecodeError("the compressed stream is truncated")
        self._at += size
        return taken

    def at_end(self) -> bool:
        """Whether the stream holds nothing more."""
        return not self.peek(1)

    def skip_zeros(self) -> int:
        """Take NULs until something else or the end comes; how many there were."""
        count = 0
        while self.peek(1) == b"\0":
            rest = self._held[self._at :]
            zeros = len(rest) - len(rest.lstrip(b"\0"))
            self._at += zeros
            count += zeros
        return count

    def _pull(self) -> bytes:
        more = self._reader.read(PIECE)
        self._pulled += len(more)
        return more
