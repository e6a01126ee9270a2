"""The file that a glance_store driver reads an image from, while we push the image into it.

A driver takes an end of data for the end of the image, and one that was told the size may be done without asking for the end. So
the last byte is held back until the commit: before that no driver can have seen the whole image, and after a failure its next read
raises, so that it never takes a part for the whole.
"""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Iterator

PIECE = 64 << 10  # bytes, for a driver that iterates instead of reading: glance_store's own default


class StreamBroken(OSError):
    """Raised to the driver: the image will never be complete. An OSError, since drivers clean up after those."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the image was broken off")


class ReaderGone(Exception):
    """Raised to the writer: the driver reads no more."""


class Feed:
    """One writer pushes, one driver pulls; one byte is held between them.

    ``read`` gives as many bytes as it is asked for, but at the end, as a regular file does: drivers that align their writes rely
    on it. It copies once, into the bytes that it returns, or twice where they come from several views.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pieces: list[memoryview] = []
        self._held = b""
        self._finished = self._broken = self._reader_gone = self._asked = False
        self.taken = 0  # bytes that the driver has read

    # -- the writer's side ------------------------------------------------------------------------------------------------

    def put(self, view: memoryview) -> None:
        """Wait until the driver has taken all but the last byte. Raises StreamBroken, ReaderGone. Keeps no reference."""
        if not view.nbytes:
            return
        with self._changed, view.cast("B") as whole:
            pieces = [memoryview(self._held), whole[:-1]]
            last = bytes(whole[-1:])
            self._pieces = [piece for piece in pieces if len(piece)]
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: not self._pieces or self._broken or self._reader_gone)
                self._check()
                if self._pieces:
                    raise ReaderGone
                self._held = last
            finally:
                for piece in (*self._pieces, *pieces):
                    piece.release()
                self._pieces = []

    def finish(self) -> None:
        """The image is complete and verified: the held byte and the end may be read."""
        with self._changed:
            self._check()
            self._finished = True
            if self._held:
                self._pieces.append(memoryview(self._held))
            self._changed.notify_all()

    def fail(self) -> None:
        """Any time, any thread: whatever the driver has not yet read is never to be had."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    def wait_for_driver(self) -> None:
        """Until the driver asks for its first byte, or will never ask."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked or self._broken or self._reader_gone)

    @property
    def finished(self) -> bool:
        """Whether the driver may have seen the whole image."""
        return self._finished

    @property
    def reader_gone(self) -> bool:
        return self._reader_gone

    def _check(self) -> None:
        if self._broken:
            raise StreamBroken

    # -- the driver's side ------------------------------------------------------------------------------------------------

    def read(self, size: int | None = None) -> bytes:
        """``size`` bytes; fewer only at the end of the complete image. Raises StreamBroken."""
        if size is None or size < 0:
            raise io.UnsupportedOperation("this would read the whole image into memory: say how many bytes")
        taken: list[bytes] = []
        with self._changed:
            self._asked = True
            self._changed.notify_all()
            while size:
                self._changed.wait_for(lambda: self._pieces or self._finished or self._broken)
                self._check()
                if not self._pieces:
                    break
                taken.append(self._take(size))
                size -= len(taken[-1])
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(PIECE):
            yield piece

    def leave(self) -> None:
        """The driver has returned or raised."""
        with self._changed:
            self._reader_gone = True
            self._changed.notify_all()

    def _take(self, size: int) -> bytes:
        first = self._pieces[0]
        taken = bytes(first[:size])
        self.taken += len(taken)
        if len(taken) < len(first):
            self._pieces[0] = first[len(taken) :]
        else:
            del self._pieces[0]
            self._changed.notify_all()
        first.release()
        return taken
