"""Zip archives (APPNOTE.TXT 6.3.10) that hold exactly one file, stored or deflated, read from front to back.

Glance extracts the member under its own name into a shared directory; here a name is bytes to compare and never a path. Entries of
directories beside the file are let pass: `zip -r` writes one for each directory above it.
"""

from __future__ import annotations

from typing import Protocol, cast

from isal import igzip_lib, isal_zlib

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.decode.framed import LARGEST_OUTPUT
from glance_stream.decode.intake import PIECE, Intake
from glance_stream.decode.zip_records import (
    DESCRIPTOR,
    END,
    LOCAL,
    STORED,
    Member,
    Sizes,
    check_decodable,
    check_sizes,
    read_local,
)
from glance_stream.decode.zip_tail import check_tail
from glance_stream.errors import DecodeError

# Their headers are kept until the central directory has been checked.
MOST_DIRECTORIES = 64

_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # the stub declares an instance


class Body(Protocol):
    """The data of one member while it is read."""

    def readinto(self, view: memoryview) -> int: ...
    def sizes(self) -> Sizes: ...


class ZipDecoder(Decoder):
    """Memory: 32 KiB of window, ISA-L's tables, and the headers of at most MOST_DIRECTORIES directories."""

    format = "zip"

    def __init__(self, reader: CompressedReader, limits: DecodeLimits) -> None:
        self._intake = Intake(reader)
        self._members: list[tuple[Member, Sizes]] = []
        self._open: tuple[Member, Body] | None = None
        self._complete = False

    def readinto(self, view: memoryview) -> int:
        while not self._complete:
            if self._open is None:
                self._next_record()
                continue
            member, body = self._open
            produced = body.readinto(view)
            if produced:
                return self._checked(member, produced)
            self._finish(member, body)
        return 0

    def close(self) -> None:
        self._open = None

    def _next_record(self) -> None:
        signature = self._intake.peek(4)
        if signature == LOCAL:
            self._open_member()
        elif self._members or signature == END:
            check_tail(self._intake, self._members)
            self._check_one_file()
            self._complete = True
        elif signature == DESCRIPTOR:
            raise DecodeError("the zip archive is split over several disks")
        else:
            raise DecodeError("not a zip archive: wrong magic bytes")

    def _open_member(self) -> None:
        member = read_local(self._intake)
        if not member.is_directory and self._files():
            raise DecodeError("the zip archive holds more than one file")
        if len(self._members) > MOST_DIRECTORIES:
            raise DecodeError(f"the zip archive holds more than {MOST_DIRECTORIES} directories")
        check_decodable(member)
        stored = member.method == STORED
        self._open = member, Stored(self._intake, member.stated.packed) if stored else Deflated(self._intake)

    def _finish(self, member: Member, body: Body) -> None:
        actual = body.sizes()
        check_sizes(self._intake, member, actual)
        self._members.append((member, actual))
        self._open = None

    def _files(self) -> int:
        return sum(not member.is_directory for member, _ in self._members)

    def _check_one_file(self) -> None:
        if not self._files():
            raise DecodeError("the zip archive holds no file")

    @staticmethod
    def _checked(member: Member, produced: int) -> int:
        if member.is_directory:
            raise DecodeError("the zip archive holds a directory that has data")
        return produced


class Stored:
    """Data as it is; its size is known in front."""

    def __init__(self, intake: Intake, size: int) -> None:
        self._intake = intake
        self._size = self._left = size
        self._crc = 0

    def readinto(self, view: memoryview) -> int:
        wanted = min(len(view), self._left)
        piece = self._intake.piece(wanted) if wanted else memoryview(b"")
        if wanted and not piece:
            raise DecodeError("the zip archive is truncated")
        view[: len(piece)] = piece
        self._crc = isal_zlib.crc32(piece, self._crc)
        self._left -= len(piece)
        return len(piece)

    def sizes(self) -> Sizes:
        return Sizes(self._crc, self._size, self._size)


class Deflated:
    """A raw deflate stream (RFC 1951), which ends by itself."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._start = intake.position
        # This flag: no gzip header nor trailer is looked for, but the CRC-32 is kept, at ISA-L's speed.
        self._inflate = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR)
        self._size = 0
        self._crc = 0

    def readinto(self, view: memoryview) -> int:
        while not self._inflate.eof:
            output = self._decompress(min(len(view), LARGEST_OUTPUT))
            view[: len(output)] = output
            self._size += len(output)
            if self._inflate.eof:
                self._crc = self._inflate.crc
                self._intake.give_back(self._inflate.unused_data)
            if output:
                return len(output)
        return 0

    def sizes(self) -> Sizes:
        return Sizes(self._crc, self._intake.position - self._start, self._size)

    def _decompress(self, size: int) -> bytes:
        data: bytes | memoryview = b""
        if self._inflate.needs_input:
            data = self._intake.piece(PIECE)
            if not data:
                raise DecodeError("the zip archive is truncated")
        try:
            return self._inflate.decompress(data, size)
        except _ISAL_ERROR as error:
            raise DecodeError(f"the zip archive is corrupt: {error}") from error
