"""Whether bytes begin with an LHA header: levels 0, 1 and 2 as LHa for UNIX's header.doc gives them.

Glance takes '-lh' at byte 2 for LHA, which a disk may have there by chance; here the header's own checksum has to be right.
"""

from __future__ import annotations

from functools import cache

METHODS = frozenset(b"-lh%d-" % digit for digit in range(8)) | {b"-lhd-", b"-lzs-", b"-lz4-", b"-lz5-"}

_COMMON = 0x00  # the extended header that carries the CRC-16 of the whole header


def is_header(head: bytes) -> bool:
    """Strict: the method is known, the level byte is right, and the header's checksum holds."""
    if len(head) < 22 or head[2:7] not in METHODS:
        return False
    level = head[20]
    if level and head[3:4] == b"z":
        return False  # LArc's methods; it knew level 0 only
    if level in (0, 1):
        return _is_short_header(head, level)
    return level == 2 and _is_level_2(head)


def _is_short_header(head: bytes, level: int) -> bool:
    """One byte of length, one of sum; the name has a length of its own that has to fit, and its CRC after it."""
    end = head[0] + 2
    name_end = 22 + head[21]
    after_name = 5 if level else 2
    return len(head) >= end and name_end + after_name <= end and sum(head[2:end]) & 0xFF == head[1]


def _is_level_2(head: bytes) -> bool:
    """The CRC-16 stands in the first extended header that is of the common kind; LHa writes it first, and always."""
    if len(head) < 29:
        return False
    size = head[0] | head[1] << 8
    extended = head[24] | head[25] << 8
    if size > len(head) or size < 26 + extended or extended < 5 or head[26] != _COMMON:
        return False
    return crc16(head[:27] + b"\0\0" + head[29:size]) == head[27] | head[28] << 8


def crc16(data: bytes) -> int:
    """CRC-16/ARC by table; only ever over a header."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _table()[(crc ^ byte) & 0xFF]
    return crc


@cache
def _table() -> tuple[int, ...]:
    return tuple(_entry(index) for index in range(256))


def _entry(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
