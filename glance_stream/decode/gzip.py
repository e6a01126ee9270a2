"""gzip members (RFC 1952), one or many end to end, and NUL padding after a member, as Python's `gzip` and so Glance read them.

The header is read here and not by ISA-L, which loses its place when a header with optional fields comes in more than one piece
(isal 1.9.1: "Invalid deflate block found" for FEXTRA with FNAME, "Incorrect checksum found" for FHCRC), and which lets reserved
flags pass.
"""

from __future__ import annotations

import zlib
from typing import cast

from isal import igzip_lib

from glance_stream.decode.framed import Frame, FramedDecoder
from glance_stream.decode.intake import Intake
from glance_stream.errors import DecodeError

MAGIC = b"\x1f\x8b\x08"  # ID1, ID2, CM = deflate, the only method there is
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0

# FNAME and FCOMMENT have no length of their own. Real ones are paths; without a bound they would let a stream without a NUL in.
LONGEST_TEXT = 32 << 10


class GzipDecoder(FramedDecoder):
    """Memory: 32 KiB of window and ISA-L's tables. ISA-L checks CRC32 and ISIZE at the end of each member."""

    format = "gzip"
    errors = (cast("type[Exception]", igzip_lib.IsalError),)  # the stub declares an instance

    def _open_frame(self) -> Frame:
        read_header(self._intake)
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)

    def _another_frame(self) -> bool:
        self._intake.skip_zeros()
        return super()._another_frame()


def read_header(intake: Intake) -> bytes:
    """Take a member's header (RFC 1952, 2.3) and return it; DecodeError if it isn't one."""
    header = intake.exactly(10)
    flags = header[3]
    if not header.startswith(MAGIC):
        raise DecodeError("not a gzip member: wrong magic bytes, or garbage after the last member")
    if flags & _RESERVED:
        # 2.3.1.2: "Reserved FLG bits must be zero", since a new field would be read as compressed data.
        raise DecodeError("the gzip header has reserved flags set")
    if flags & _FEXTRA:
        length = intake.exactly(2)
        header += length + intake.exactly(int.from_bytes(length, "little"))
    for text in (_FNAME, _FCOMMENT):
        if flags & text:
            header += _read_text(intake)
    if flags & _FHCRC and intake.exactly(2) != (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little"):
        raise DecodeError("the gzip header's checksum is wrong")
    return header


def _read_text(intake: Intake) -> bytes:
    size = 64
    while (end := intake.peek(size).find(b"\0")) < 0:
        size *= 2
        if size > LONGEST_TEXT:
            raise DecodeError("the gzip header's name or comment doesn't end")
    return intake.exactly(end + 1)
