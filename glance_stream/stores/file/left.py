"""The temporary file that a dead process has left, opened to go on with it. All of it blocks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from glance_stream.errors import NotFound
from glance_stream.stores.file.system import is_directory, mapped_for

BLOCK = 512  # bytes in a unit of st_blocks, whatever the file system's own


def space_of(store_id: str, path: Path) -> int:
    """Bytes that it takes up on the disk; 0 where the store's directory is still to be made. Raises NotFound."""
    with mapped_for(store_id, path):
        return os.lstat(path).st_blocks * BLOCK if is_directory(path.parent) else 0


def open_left(store_id: str, path: Path, mode: int | None) -> tuple[int, int]:
    """A descriptor to read and write, and the file's size. Raises NotFound where it can't be gone on with, StoreError.

    One that has a second name is no temporary file any more: somebody may read it there.
    """
    fd = _open(store_id, path)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise NotFound(store_id, f"{path} is not what a writer has left")
        if mode is not None:
            os.fchmod(fd, mode)
        # What is compared later must be what is on the disk: after a write-back that failed the page cache has other bytes, which
        # pass for clean ("fsyncgate", PostgreSQL, 2018).
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException:
        os.close(fd)
        raise
    return fd, facts.st_size


def _open(store_id: str, path: Path) -> int:
    with mapped_for(store_id, path):
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR):
                raise NotFound(store_id, f"{path} is no file") from error
            raise
