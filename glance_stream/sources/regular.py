"""Reading a descriptor that has a size: a regular file or a block device."""

from __future__ import annotations

import os
import stat

from glance_stream.errors import SourceError
from glance_stream.sources.base import SourceInfo


class RegularFile:
    """A descriptor read from its present position to its end. Who opened it closes it."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self._facts = self._look()
        self._start = os.lseek(fd, 0, os.SEEK_CUR)
        self._size = self._left = max(0, self._facts[-1] - self._start)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)  # doubles the kernel's read-ahead

    def info(self) -> SourceInfo:
        return SourceInfo(self._size, ":".join(f"{fact:x}" for fact in self._facts))

    def reopen(self, offset: int) -> None:
        self.verify_unchanged()
        os.lseek(self.fd, self._start + offset, os.SEEK_SET)
        self._left = self._size - offset

    def readinto(self, view: memoryview) -> int:
        try:
            count = os.readv(self.fd, [view])
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}") from error
        self._left -= count
        # A file that grows under the reader could otherwise be read for ever.
        if self._left < 0 or (not count and self._left):
            raise SourceError(f"{self.name} {'grew' if self._left < 0 else 'shrank'} while it was read")
        return count

    def verify_unchanged(self) -> None:
        """By descriptor: a file renamed over the path meanwhile is another file, and was not read."""
        if self._look() != self._facts:
            raise SourceError(f"{self.name} was changed while it was read: what was read may be a mix of two contents")

    def _look(self) -> tuple[int, ...]:
        """Device, inode, time of change and size. Change time proper (ctime) is left out: a mere rename or chmod moves it."""
        facts = os.fstat(self.fd)
        if stat.S_ISBLK(facts.st_mode):
            # The node's times say nothing of the device's content, and its st_size is 0.
            return facts.st_rdev, facts.st_ino, 0, _device_size(self.fd)
        return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size


def _device_size(fd: int) -> int:
    position = os.lseek(fd, 0, os.SEEK_CUR)
    size = os.lseek(fd, 0, os.SEEK_END)
    os.lseek(fd, position, os.SEEK_SET)
    return size


def has_size(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
