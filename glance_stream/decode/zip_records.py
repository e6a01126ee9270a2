"""The records of a zip archive (APPNOTE.TXT 6.3.10) before its central directory. Section numbers below are APPNOTE's."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from glance_stream.decode.intake import Intake
from glance_stream.errors import DecodeError

LOCAL = b"PK\x03\x04"
DESCRIPTOR = b"PK\x07\x08"  # also the mark of a split archive when it comes first (8.5.4)
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"

STORED, DEFLATED = 0, 8
ABSENT_16, ABSENT_32 = 0xFFFF, 0xFFFFFFFF  # "look into the zip64 extra field" (4.4.1.4)

ENCRYPTED, STREAMED, PATCHED, STRONG, MASKED = 0x0001, 0x0008, 0x0020, 0x0040, 0x2000
UNDECODABLE = ENCRYPTED | PATCHED | STRONG | MASKED
_ZIP64 = 0x0001
_LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True)
class Sizes:
    """What is known of a member's data: CRC-32, packed size, unpacked size."""

    crc: int
    packed: int
    size: int


@dataclass(frozen=True)
class Member:
    """One local header (4.3.7). The name is kept only to be compared; no path is ever made from it."""

    offset: int
    flags: int
    method: int
    time: int
    date: int
    stated: Sizes
    name: bytes
    wide: bool

    @property
    def is_directory(self) -> bool:
        return self.name.endswith(b"/")

    @property
    def streamed(self) -> bool:
        """Whether the sizes follow the data in a descriptor (4.4.4, bit 3)."""
        return bool(self.flags & STREAMED)


def read_local(intake: Intake) -> Member:
    """Take the local header that begins at the intake's next byte."""
    offset = intake.position
    fixed = intake.exactly(_LOCAL.size)
    signature, _, flags, method, time, date, crc, packed, size, name_length, extra_length = _LOCAL.unpack(fixed)
    if signature != LOCAL:
        raise DecodeError("not a zip archive: no local file header")
    name = intake.exactly(name_length)
    extra = zip64_extra(intake.exactly(extra_length))
    size, packed = widen(extra, [size, packed])
    return Member(offset, flags, method, time, date, Sizes(crc, packed, size), name, bool(extra))


def zip64_extra(extra: bytes) -> bytes:
    """The content of the zip64 field among the extra fields (4.5.3), b'' if there is none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def widen(extra: bytes, values: list[int]) -> list[int]:
    """Replace each 0xFFFFFFFF by the next eight bytes of the zip64 field: only absent ones are there, in this order (4.5.3)."""
    taken = 0
    wide = list(values)
    for index, value in enumerate(values):
        if value == ABSENT_32 and extra:
            if taken + 8 > len(extra):
                raise DecodeError("the zip archive's zip64 field is too short")
            (wide[index],) = struct.unpack_from("<Q", extra, taken)
            taken += 8
    return wide


def check_decodable(member: Member) -> None:
    """DecodeError for members that this decoder, or a stream, can't do."""
    if member.flags & (ENCRYPTED | STRONG | MASKED):
        raise DecodeError("the zip archive is encrypted")
    if member.flags & PATCHED:
        raise DecodeError("the zip archive holds patched data")
    if member.method not in (STORED, DEFLATED):
        raise DecodeError(f"the zip archive uses compression method {member.method}; only stored (0) and deflate (8) are known")
    if member.method == STORED and member.streamed and not (member.stated.packed or member.is_directory):
        raise DecodeError("the zip member is stored without its size in front: where it ends can't be known in a stream")


def check_sizes(intake: Intake, member: Member, actual: Sizes) -> None:
    """Compare what was read with the local header and, for a streamed member, with its descriptor, which is taken."""
    if not member.streamed:
        _agree("local header", member.stated, actual)
        return
    # Bit 3 asks for zeros in front (4.4.4), yet some writers know better and fill them in.
    if member.stated.packed not in (0, ABSENT_32):
        _agree("local header", Sizes(member.stated.crc or actual.crc, member.stated.packed, member.stated.size), actual)
    intake.exactly(_descriptor_length(intake, member, actual))


def _agree(where: str, stated: Sizes, actual: Sizes) -> None:
    if stated.packed != actual.packed or stated.size != actual.size:
        raise DecodeError(f"the zip member's sizes don't agree with its {where}")
    if stated.crc != actual.crc:
        raise DecodeError(f"the zip member's CRC-32 doesn't agree with its {where}")


def _descriptor_length(intake: Intake, member: Member, actual: Sizes) -> int:
    """A descriptor's signature is optional and nothing tells its width for sure (4.3.9), so each form it can have is tried: it must
    say what was read, and a header must follow."""
    ahead = intake.peek(28)
    for width in ("Q", "I") if member.wide else ("I", "Q"):
        if width == "I" and max(actual.packed, actual.size) > ABSENT_32:
            continue
        expected = struct.pack(f"<I2{width}", actual.crc, actual.packed, actual.size)
        for form in (DESCRIPTOR + expected, expected):
            if ahead.startswith(form) and ahead[len(form) : len(form) + 4] in (LOCAL, CENTRAL):
                return len(form)
    if len(ahead) < 28:
        raise DecodeError("the zip archive is truncated")
    raise DecodeError("the zip member's CRC-32 or sizes don't agree with its data descriptor")
