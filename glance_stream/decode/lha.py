"""LHA archives that hold exactly one file, by the system's libarchive, which reads them from front to back in little memory.

The library is reached through libarchive-c, an extra: hardly an image comes this way, and Glance has it as an optional plugin too.
libarchive checks the headers' sums and the data's CRC-16; what follows the archive's end mark is looked at here.
"""

from __future__ import annotations

import ctypes
import logging
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.errors import DecodeError, InvalidRequest

_PIECE = 64 << 10
_LOOK_AHEAD = 64  # libarchive looks for the next header, 22 bytes, before it says that there is none
_FATAL = -30  # ARCHIVE_FATAL, archive.h

_SILENT = logging.NullHandler()


class LhaDecoder(Decoder):
    """Memory: one piece and libarchive's window, 128 KiB at most. Decodes -lh0-, -lz4-, -lhd- and -lh5- to -lh7-."""

    format = "lha"

    def __init__(self, reader: CompressedReader, limits: DecodeLimits) -> None:
        self._library = _library()
        self._feed = _Feed(reader, self._library)
        self._resources = ExitStack()
        self._archive: Any = None
        self._entries: Any = None
        self._left: int | None = None
        self._complete = False

    def readinto(self, view: memoryview) -> int:
        if self._archive is None and not self._complete:
            self._start()
        while not self._complete:
            if self._left is None:
                self._next_entry()
            elif produced := self._read_data(view):
                self._left -= produced
                return produced
            else:
                self._check_end()
        return 0

    def close(self) -> None:
        self._archive = self._entries = None
        self._resources.close()

    def _start(self) -> None:
        pointer = self._resources.enter_context(self._library.read.new_archive_read("lha", "none"))
        ffi = self._library.ffi
        self._archive = pointer
        self._call(ffi.read_open, pointer, None, ffi.NO_OPEN_CB, self._feed.callback, ffi.NO_CLOSE_CB)
        self._entries = iter(self._library.read.ArchiveRead(pointer))

    def _next_entry(self) -> None:
        """Go to the file; entries of directories before it are let pass."""
        entry = self._call(next, self._entries, None)
        if entry is None:
            raise DecodeError("the lha archive holds no file")
        if entry.isreg:
            self._left = entry.size
        elif not entry.isdir:
            raise DecodeError("the lha archive's member is a link or a device, not a file")

    def _read_data(self, view: memoryview) -> int:
        target = (ctypes.c_char * len(view)).from_buffer(view)
        produced: int = self._call(self._library.ffi.read_data, self._archive, target, len(view))
        if produced < 0:
            # ARCHIVE_WARN, which the binding lets pass: a CRC-16 that is wrong is only a warning to libarchive.
            raise DecodeError("the lha archive is corrupt: its data doesn't have the CRC that its header gives")
        return produced

    def _check_end(self) -> None:
        if self._left:
            raise DecodeError("the lha archive's file is not of the size that its header gives")
        while (entry := self._call(next, self._entries, None)) is not None:
            if not entry.isdir:
                raise DecodeError("the lha archive holds more than one file")
        self._feed.check_nothing_after(self._library.ffi.filter_bytes(self._archive, 0))
        self._complete = True

    def _call(self, function: Any, *args: Any) -> Any:
        """Call into libarchive. What the reader raised meanwhile could not pass through C and is raised here."""
        try:
            return function(*args)
        except self._library.ArchiveError as error:
            if self._feed.error is not None:
                raise self._feed.error from None
            raise DecodeError(f"the lha archive is corrupt or truncated: {error.msg}") from error


class _Feed:
    """The reader as libarchive calls it. The piece handed over stays alive until the next is asked for, as libarchive needs it."""

    def __init__(self, reader: CompressedReader, library: Any) -> None:
        self._reader = reader
        self._piece = b""
        self._recent = b""
        self._pulled = 0
        self.error: BaseException | None = None
        self.callback = library.ffi.READ_CALLBACK(self._read)

    def _read(self, _archive: int, _context: int, target: Any) -> int:
        try:
            self._piece = self._reader.read(_PIECE)
        except BaseException as error:
            self.error = error
            return _FATAL
        self._recent = self._recent[-_LOOK_AHEAD:] + self._piece
        self._pulled += len(self._piece)
        target[0] = ctypes.cast(ctypes.c_char_p(self._piece), ctypes.c_void_p)
        return len(self._piece)

    def check_nothing_after(self, position: int) -> None:
        """libarchive stops at ``position``: before the end mark, a NUL, or where the stream ends without one."""
        unread = self._pulled - position
        if not unread:
            raise DecodeError("the lha archive is truncated: it has no end mark")
        rest = self._recent[-unread:]
        while rest:
            if rest.strip(b"\0"):
                raise DecodeError("garbage after the end of the lha archive")
            rest = self._reader.read(_PIECE)


def _library() -> Any:
    try:
        import_module("libarchive.read")
        library = import_module("libarchive")
    except (ImportError, OSError, TypeError, AttributeError) as error:
        # Beside ImportError: what libarchive-c raises when the shared library isn't there, or is too old.
        raise InvalidRequest(
            "the content is an LHA archive, and reading those needs libarchive: pip install 'glance-stream[lha]' and the system's "
            "libarchive (libarchive13 or libarchive), or take the content as it is with --decompress=never"
        ) from error
    # The binding logs warnings that are errors here; an application without logging would get them on its stderr.
    logging.getLogger("libarchive").addHandler(_SILENT)
    return library
