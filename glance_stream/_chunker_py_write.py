"""How the Python twin's WriteLane writes: in the best mode the file system takes, without filling the page cache."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from typing import Self, final

HOLE_GRAIN = 64 << 10  # zero runs shorter than this are not worth an extent of their own
DIRECT_ALIGNMENT = 4096  # what every file system with O_DIRECT on Linux is content with
RWF_DONTCACHE = 0x80  # Linux 6.14; the os module has no name for it
PACE_BYTES = 16 << 20  # dirty pages before they are written back and dropped: keeps memory free for others

NEXT_MODE = {"direct": "dontcache", "dontcache": "paced"}
NOT_SUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


@final
class StreamWriter:
    """Writes a stream's parts in order to ``fd``. Within ``with``; the descriptor's flags are put back at its end."""

    def __init__(self, fd: int, *, thin: bool, direct: bool, held: int) -> None:
        """``held``: below this the file may have the stream's bytes already."""
        if held < 0:
            raise ValueError("held must not be negative")
        self.mode = "direct" if direct else "dontcache"
        self.kept = 0
        self._held = held
        self._fd = fd
        self._thin = thin
        self._flags: int | None = None  # as the caller had them
        self._unpaced = 0

    def __enter__(self) -> Self:
        if self._thin and self._regular():
            os.ftruncate(self._fd, self._held)  # a hole left over old bytes would show them
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._flags is not None:
            with contextlib.suppress(OSError):  # a descriptor that is closed by now has no flags to put back
                fcntl.fcntl(self._fd, fcntl.F_SETFL, self._flags)

    def write(self, view: memoryview, offset: int, *, zero: bool) -> None:
        if self._holds(view, offset, zero):
            self.kept += len(view)
            return
        if not self._thin or offset < self._held:
            self._write_all(view, offset)
        elif not zero:
            for start, stop in _runs(view):
                self._write_all(view[start:stop], offset + start)
        if self.mode == "paced":
            self._pace(len(view))

    def end(self, size: int) -> None:
        """The file's size is the stream's, whatever it was before and wherever the last hole is."""
        if self._regular():
            os.ftruncate(self._fd, size)

    def _holds(self, view: memoryview, offset: int, zero: bool) -> bool:
        """Whether the file has just these bytes already. What can't be read back is written."""
        end = offset + len(view)
        if end > self._held or (zero and not self._thin and self._next_hole(offset) < end):
            return False
        self._set_direct(False)  # which would want an aligned buffer
        try:
            found = os.pread(self._fd, len(view), offset)
        except OSError:
            return False
        return found == view

    def _next_hole(self, offset: int) -> int:
        try:
            return os.lseek(self._fd, offset, os.SEEK_HOLE)
        except OSError:
            return sys.maxsize

    def _regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._fd).st_mode)

    def _write_all(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            try:
                some = self._write_some(view[done:], offset + done)
            except OSError as error:
                if self.mode not in NEXT_MODE or error.errno not in NOT_SUPPORTED:
                    raise
                self._next_mode()
                continue
            if not some:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            done += some

    def _write_some(self, view: memoryview, offset: int) -> int:
        if self.mode == "paced":
            return os.pwrite(self._fd, view, offset)
        if self.mode == "dontcache":
            return os.pwritev(self._fd, [view], offset, RWF_DONTCACHE)
        aligned = len(view) - len(view) % DIRECT_ALIGNMENT
        if aligned and offset % DIRECT_ALIGNMENT == 0:
            self._set_direct(True)
            return os.pwrite(self._fd, view[:aligned], offset)
        self._set_direct(False)
        return os.pwrite(self._fd, view, offset)

    def _next_mode(self) -> None:
        self._set_direct(False)
        self.mode = NEXT_MODE[self.mode]

    def _set_direct(self, wanted: bool) -> None:
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        if self._flags is None:
            self._flags = flags
        if wanted != bool(flags & os.O_DIRECT):
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags ^ os.O_DIRECT)

    def _pace(self, length: int) -> None:
        self._unpaced += length
        if self._unpaced < PACE_BYTES:
            return
        self._unpaced = 0
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a special file has nothing to write back; any other error is lost data
                raise
        else:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _runs(view: memoryview) -> Iterator[tuple[int, int]]:
    """Where the runs of blocks that are not all zero start and stop."""
    start = 0
    for at in range(0, len(view), HOLE_GRAIN):
        block = bytes(view[at : at + HOLE_GRAIN])
        if block == bytes(len(block)):
            if at > start:
                yield start, at
            start = at + len(block)
    if start < len(view):
        yield start, len(view)
