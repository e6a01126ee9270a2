"""A file, block device or FIFO that has a path."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.pipe import PipeSource
from glance_stream.sources.regular import has_size

_ADVICE = {
    FileNotFoundError: "there is no such file: check the path",
    PermissionError: "permission denied: run as a user who may read it, or change its mode",
    NotADirectoryError: "a part of the path is not a directory: check the path",
}


class PathSource(Source):
    """Opens ``path`` for reading and reads it as the kind of thing it is. A FIFO has no size and waits for its writer."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.name = repr(self.path)[1:-1]  # control characters in a file name must not reach a terminal
        self._fd: int | None = None
        self._inner: PipeSource | None = None
        self._interrupted = False

    def open(self) -> SourceInfo:
        self.close()
        try:
            self._fd = self._open_descriptor()
            self._inner = PipeSource(self._fd, self.name)
            if self._interrupted:
                self._inner.interrupt()
            return self._inner.open()
        except (OSError, ValueError) as error:
            self.close()
            raise InvalidRequest(f"can't open {self.name}: {_advice(error)}") from error

    def _open_descriptor(self) -> int:
        """Raises OSError, ValueError. A subclass may be stricter, and has errors of its own."""
        return open_for_reading(self.path, _require_readable_kind)

    def reopen(self, offset: int) -> None:
        self._opened().reopen(offset)

    def readinto(self, view: memoryview) -> int:
        return self._opened().readinto(view)

    def fileno(self) -> int | None:
        return self._opened().fileno()

    def verify_unchanged(self) -> None:
        self._opened().verify_unchanged()

    def interrupt(self) -> None:
        self._interrupted = True
        if (inner := self._inner) is not None:
            inner.interrupt()

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None
        if self._fd is not None:
            fd, self._fd = self._fd, None  # gone also when closing it fails: a second try would close another's
            with suppress(OSError):  # what was read was read
                os.close(fd)

    def _opened(self) -> PipeSource:
        if self._inner is None:
            raise SourceError(f"{self.name} is not open")
        return self._inner


def open_for_reading(path: str, require_kind: Callable[[int], None], *, follow_symlinks: bool = True) -> int:
    """A blocking descriptor of what ``require_kind``, given its mode, does not refuse.

    That is asked before the open too: merely opening some character devices (a watchdog, a tape) acts on them.
    """
    require_kind(os.stat(path, follow_symlinks=follow_symlinks).st_mode)
    # Not blocking: the open of a FIFO would wait for its writer, where interrupt() can't reach it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow_symlinks else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    try:
        require_kind(os.fstat(fd).st_mode)  # it may have been replaced between the two calls
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_readable_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not (has_size(mode) or stat.S_ISFIFO(mode)):
        raise ValueError("it is not a file, a block device or a FIFO: give an image")


def _advice(error: OSError | ValueError) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a directory: give an image file in it"
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return advice
    return (error.strerror or "it can't be read") if isinstance(error, OSError) else str(error)
