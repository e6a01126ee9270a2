"""A zip archive's central directory and end records (APPNOTE.TXT 4.3.12 to 4.3.16), checked against the members that were read.

In a stream they come last, and are what a tool with a seekable file would have believed. Only an archive whose two descriptions
are the same has one meaning.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from glance_stream.decode.intake import Intake
from glance_stream.decode.zip_records import (
    ABSENT_16,
    ABSENT_32,
    CENTRAL,
    END,
    UNDECODABLE,
    Member,
    Sizes,
    widen,
    zip64_extra,
)
from glance_stream.errors import DecodeError

_END_64 = b"PK\x06\x06"
_LOCATOR = b"PK\x06\x07"
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64_RECORD = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_RECORD = struct.Struct("<4sIQI")
_UNIX = 3
_KIND, _LINK = 0o170000, 0o120000  # `zip` in a pipe says FIFO, and means the content


def check_tail(intake: Intake, members: Sequence[tuple[Member, Sizes]]) -> None:
    """Take everything up to the end of the archive; DecodeError unless it describes exactly these members and nothing follows."""
    start = intake.position
    for member, actual in members:
        _check_entry(intake, member, actual)
    if intake.peek(4) == CENTRAL:
        raise DecodeError("the zip archive's central directory lists more members than it holds")
    directory = (len(members), intake.position - start, start)
    wide = intake.peek(4) == _END_64
    if wide:
        _check_end_64(intake, directory)
    _check_end(intake, directory, wide)
    if not intake.at_end():
        raise DecodeError("garbage after the end of the zip archive")


def _check_entry(intake: Intake, member: Member, actual: Sizes) -> None:
    if intake.peek(4) != CENTRAL:
        raise DecodeError("the zip archive is truncated or its central directory is damaged")
    fields = _CENTRAL.unpack(intake.exactly(_CENTRAL.size))
    _, made_by, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, disk, _, mode, offset = fields
    name = intake.exactly(name_length)
    extra = zip64_extra(intake.exactly(extra_length))
    intake.exactly(comment_length)
    size, packed, offset = widen(extra, [size, packed, offset])
    if disk not in (0, ABSENT_16):
        raise DecodeError("the zip archive is split over several disks")
    if (offset, name, method, Sizes(crc, packed, size)) != (member.offset, member.name, member.method, actual):
        raise DecodeError("the zip archive's central directory doesn't agree with the member it describes")
    if flags & UNDECODABLE:
        raise DecodeError("the zip archive's central directory says encrypted or patched, and the member's own header doesn't")
    if made_by >> 8 == _UNIX and mode >> 16 & _KIND == _LINK:
        raise DecodeError("the zip archive's member is a symbolic link")


def _check_end_64(intake: Intake, directory: tuple[int, int, int]) -> None:
    """The zip64 end record and its locator (4.3.14, 4.3.15)."""
    position = intake.position
    fields = _END_64_RECORD.unpack(intake.exactly(_END_64_RECORD.size))
    _, length, _, _, disk, directory_disk, entries_here, *stated = fields
    extensible = length - (_END_64_RECORD.size - 12)  # the length leaves out the signature and itself
    if not 0 <= extensible <= ABSENT_16:
        raise DecodeError("the zip archive's zip64 end record is damaged")
    intake.exactly(extensible)
    if (disk, directory_disk, entries_here, *stated) != (0, 0, directory[0], *directory):
        raise DecodeError("the zip archive's zip64 end record doesn't agree with its central directory")
    if _LOCATOR_RECORD.unpack(intake.exactly(_LOCATOR_RECORD.size)) != (_LOCATOR, 0, position, 1):
        raise DecodeError("the zip archive's zip64 locator is damaged")


def _check_end(intake: Intake, directory: tuple[int, int, int], wide: bool) -> None:
    """The end record (4.3.16), whose comment is taken unread."""
    fixed = intake.exactly(_END.size)
    signature, disk, directory_disk, entries_here, entries, size, offset, comment_length = _END.unpack(fixed)
    if signature != END:
        raise DecodeError("the zip archive's end record is missing")
    count, *place = directory
    if not (_same(disk, 0, ABSENT_16, wide) and _same(directory_disk, 0, ABSENT_16, wide)):
        raise DecodeError("the zip archive is split over several disks")
    counted = _same(entries_here, count, ABSENT_16, wide) and _same(entries, count, ABSENT_16, wide)
    placed = all(_same(stated, true, ABSENT_32, wide) for stated, true in zip((size, offset), place, strict=True))
    if not (counted and placed):
        raise DecodeError("the zip archive's end record doesn't agree with its central directory")
    intake.exactly(comment_length)


def _same(stated: int, true: int, absent: int, wide: bool) -> bool:
    """Whether a field of the end record is right, or left to the zip64 record."""
    return stated == true or (wide and stated == absent)
