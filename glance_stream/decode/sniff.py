"""What a stream is, told by its content and never by a name.

Glance takes a few magic bytes for the whole truth, so that a raw disk which happens to begin with them can't be imported. Here a
format is recognised when its header is valid in every field that can be checked, and the data after it decodes to something. A
disk that begins with boot code behind the bytes 1f 8b 08 does neither. A stream whose data is damaged further on is of that
format still, and its decoder will say so.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from glance_stream.decode import lha_header, zip_records, zstd_frames
from glance_stream.decode.intake import Intake
from glance_stream.errors import DecodeError, LimitExceeded

SNIFF_SIZE = 64 << 10

# Junk decodes as deflate for a symbol or two, one time in five; for this many bytes, one time in millions.
TRIAL = 32

_GZIP = b"\x1f\x8b\x08"
_XZ = b"\xfd7zXZ\0"
_LZ4 = b"\x04\x22\x4d\x18"
_BZ2_BLOCK, _BZ2_END = bytes.fromhex("314159265359"), bytes.fromhex("177245385090")
_ZIP_METHODS = frozenset((*range(21), *range(92, 100)))  # APPNOTE.TXT 4.4.5
_ZIP_FLAGS_UNUSED = 0xD780  # 4.4.4: bits 7 to 10, 12, 14 and 15
_ZIP_VERSION_NOW = 63


@dataclass(frozen=True)
class Sniffed:
    """``format``: what the content is, None if it is to be taken as it is. ``resembles``: whose magic bytes it begins with all the
    same, without being valid, which is worth a warning."""

    format: str | None = None
    resembles: str | None = None


def sniff(head: bytes) -> Sniffed:
    """``head`` is the first SNIFF_SIZE bytes, or all of a stream that has fewer."""
    body = _after_skippable(head)
    if head and not body:
        return Sniffed(resembles="zstd")
    for name, magic, offset, is_valid in _SIGNS:
        if body[offset : offset + len(magic)] == magic:
            valid = is_valid(body)
            return Sniffed(format=name) if valid else Sniffed(resembles=name)
    return Sniffed()


def _after_skippable(head: bytes) -> bytes:
    """From the first frame that isn't skippable; pzstd begins with such a frame, and lz4 shares its magic."""
    at = 0
    while zstd_frames.is_skippable(head[at : at + 4]) and len(head) >= at + 12:
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little")
    return head[at:]


def _is_gzip(head: bytes) -> bool:
    from glance_stream.decode.gzip import read_header

    intake = Intake(io.BytesIO(head))
    try:
        header = read_header(intake)
    except DecodeError:
        return False
    # RFC 1952, 2.3.1: OS is one of 0 to 13, or 255 for unknown.
    return (header[9] <= 13 or header[9] == 255) and _inflates(head[intake.position :])


def _inflates(body: bytes) -> bool:
    """By zlib and not ISA-L, which for an error further on keeps back the output before it."""
    return _decodes(lambda: zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, TRIAL), zlib.error)


def _is_bz2(head: bytes) -> bool:
    return (
        head[3:4] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9")
        and head[4:10] in (_BZ2_BLOCK, _BZ2_END)
        and _decodes(lambda: bz2.BZ2Decompressor().decompress(head, TRIAL), OSError, ValueError)
    )


def _is_xz(head: bytes) -> bool:
    """The .xz File Format 2.1.1: the flags have a CRC of their own. No memory limit: a large dictionary doesn't make it a disk."""
    flags = head[6:8]
    return (
        len(head) >= 12
        and flags[0] == 0
        and zlib.crc32(flags) == int.from_bytes(head[8:12], "little")
        and _decodes(lambda: _unxz(head), lzma.LZMAError)
    )


def _unxz(head: bytes) -> object:
    try:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_TRIAL_MEMORY).decompress(head, TRIAL)
    except lzma.LZMAError as error:
        if "Memory usage limit" in str(error):
            return None
        raise


def _is_lz4(head: bytes) -> bool:
    """The frame header has a checksum, which liblz4 verifies."""
    from glance_stream.decode.lz4 import Lz4Decoder, Lz4Frame

    return _decodes(lambda: Lz4Frame().decompress(head, TRIAL), *Lz4Decoder.errors)


def _is_zstd(head: bytes) -> bool:
    """The headers of the frame and of its first block, and then that block, if its window is small enough to have for a trial."""
    walk = _walk(head, blocks=1)
    if walk is None or not _is_sensible_block(head, walk):
        return False
    if walk.block[1] != zstd_frames.COMPRESSED:
        return _walk(head, blocks=2) is not None  # any bytes are a raw block: the next header has to tell
    return walk.window > _TRIAL_MEMORY or _unzstd(head)


def _walk(head: bytes, blocks: int) -> zstd_frames.FrameWalk | None:
    """As far as the header of this block, or the end of the frame; None if it can't be a frame."""
    walk = zstd_frames.FrameWalk(zstd_frames.LARGEST_WINDOW)
    at = 0
    try:
        while at < len(head) and walk.blocks < blocks and not (at and walk.complete):
            step = walk.ahead
            walk.feed(head[at : at + step])
            at += step
    except (DecodeError, LimitExceeded):
        return None
    return walk


def _is_sensible_block(head: bytes, walk: zstd_frames.FrameWalk) -> bool:
    """What decoders let pass and encoders don't write: the frame header's unused bit set, a block larger than the window (RFC 8878,
    3.1.1.2.4), or an empty one that is not the last, which is how zeros read."""
    last, _, size = walk.block
    return not walk.blocks or (not head[4] & 0x10 and (bool(last) or size > 0) and size <= max(walk.window, 1))


def _unzstd(head: bytes) -> bool:
    import zstandard

    trial = zstandard.ZstdDecompressor(max_window_size=_TRIAL_MEMORY).stream_reader(head)
    return _decodes(lambda: trial.read(TRIAL), zstandard.ZstdError)


def _is_zip(head: bytes) -> bool:
    """A local header whose fields make sense, and data that inflates. A kind we don't decode is a zip archive all the same."""
    intake = Intake(io.BytesIO(head))
    try:
        member = zip_records.read_local(intake)
    except DecodeError:
        return False
    if not _is_sensible(member, version=head[4]):
        return False
    if member.flags & zip_records.ENCRYPTED or member.method != zip_records.DEFLATED:
        return True
    return _inflates(head[intake.position :])


def _is_sensible(member: zip_records.Member, version: int) -> bool:
    month, day = member.date >> 5 & 15, member.date & 31
    stored = member.method == zip_records.STORED and not member.flags & (zip_records.STREAMED | zip_records.ENCRYPTED)
    return (
        member.method in _ZIP_METHODS
        and 10 <= version <= _ZIP_VERSION_NOW
        and not member.flags & _ZIP_FLAGS_UNUSED
        and month <= 12
        and (member.time & 31) < 30
        and (day > 0 or member.date == 0)
        and (not stored or member.stated.packed == member.stated.size)
        and bool(member.name)
        and min(member.name) >= 0x20
    )


def _is_empty_zip(head: bytes) -> bool:
    """An archive without members is its end record alone (APPNOTE.TXT 4.3.16)."""
    return len(head) >= 22 and not any(head[4:20]) and len(head) == 22 + int.from_bytes(head[20:22], "little")


def _decodes(trial: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether the trial goes through. No output is no failure: the input may be empty, or its first block larger than the head."""
    try:
        trial()
    except errors:
        return False
    return True


_TRIAL_MEMORY = 128 << 20

_SIGNS: tuple[tuple[str, bytes, int, Callable[[bytes], bool]], ...] = (
    ("gzip", _GZIP, 0, _is_gzip),
    ("zstd", zstd_frames.MAGIC, 0, _is_zstd),
    ("xz", _XZ, 0, _is_xz),
    ("bz2", b"BZh", 0, _is_bz2),
    ("lz4", _LZ4, 0, _is_lz4),
    ("zip", zip_records.LOCAL, 0, _is_zip),
    ("zip", zip_records.END, 0, _is_empty_zip),
    # The header's checksum is all that is asked for: the same archive can't be one thing with libarchive and another without.
    ("lha", b"-lh", 2, lha_header.is_header),
    ("lha", b"-lz", 2, lha_header.is_header),
)
