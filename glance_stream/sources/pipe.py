"""A descriptor that somebody else opened: standard input, a pipe, a socket."""

from __future__ import annotations

import os
import select
import stat
import threading

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.regular import RegularFile, has_size


class PipeSource(Source):
    """Reads ``fd`` to its end and never closes it: it is the caller's.

    A regular file or block device behind the descriptor (``< image``) is read from its present position and has a size.
    """

    def __init__(self, fd: int, name: str = "standard input") -> None:
        self.name = name
        self._fd = fd
        self._file: RegularFile | None = None
        self._interrupted = False
        # Written to by interrupt(): a blocked read then ends at once, with no timer that wakes an idle process.
        self._wake: int | None = None
        self._wake_lock = threading.Lock()  # a wake-up written after close() could land in an unrelated file

    def open(self) -> SourceInfo:
        mode = self._mode()
        if stat.S_ISDIR(mode):
            raise InvalidRequest(f"{self.name} is a directory: give an image file")
        if os.isatty(self._fd):
            raise InvalidRequest(f"{self.name} is a terminal: redirect a file or a pipe into it, or name the image instead of '-'")
        if self._wake is None:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if has_size(mode):
            self._file = RegularFile(self._fd, self.name)
            return self._file.info()
        return SourceInfo()

    def reopen(self, offset: int) -> None:
        if self._file is None:
            super().reopen(offset)
        else:
            self._file.reopen(offset)

    def _mode(self) -> int:
        try:
            return os.fstat(self._fd).st_mode
        except OSError as error:
            raise InvalidRequest(f"{self.name} is closed: redirect a file or a pipe into it") from error

    def readinto(self, view: memoryview) -> int:
        if self._wake is None:
            raise SourceError(f"{self.name} is not open")
        while True:
            if self._file is None:
                self._wait(self._wake)
            if self._interrupted:
                raise SourceError(f"reading {self.name} was interrupted")
            if self._file is not None:
                return self._file.readinto(view)
            try:
                return os.readv(self._fd, [view])
            except BlockingIOError:
                continue  # the descriptor came to us non-blocking, and another reader was faster
            except OSError as error:
                raise SourceError(f"{self.name}: {error.strerror}") from error

    def _wait(self, wake: int) -> None:
        """Until there is something to read or interrupt() was called.

        Also what makes a FIFO without a writer yet wait for one: a plain non-blocking read would report its end.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        poll.poll()

    def fileno(self) -> int | None:
        """The core polls a pipe before each read, so that failing the ring interrupts it."""
        return self._fd

    def verify_unchanged(self) -> None:
        if self._file is not None:
            self._file.verify_unchanged()

    def interrupt(self) -> None:
        self._interrupted = True
        with self._wake_lock:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        with self._wake_lock:
            if self._wake is not None:
                os.close(self._wake)
                self._wake = None
        self._file = None
