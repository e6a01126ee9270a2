"""Small valid streams of each format, made when asked for, and how a damaged one is made plausible again."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import sys
import zipfile
import zlib
from functools import cache
from pathlib import Path

import lz4.frame
import zstandard

sys.path.append(str(Path(__file__).parent.parent / "decode"))

from decode_samples import lh5_bomb, lha_of, zip_of

NOISE = random.Random(3).randbytes(300)
CONTENTS = (b"", b"a", b"one two " * 40, bytes(5000), NOISE)
SKIPPABLE = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"skip!"
DIRECTORY = {"images/": b"", "images/disk.img": b"one two " * 9}


@cache
def seeds(name: str) -> list[bytes]:
    return SEEDS[name]()


def _gzip() -> list[bytes]:
    plain = [gzip.compress(content, mtime=0) for content in CONTENTS]
    fields = b"\x1f\x8b\x08\x1e" + bytes(5) + b"\x03" + struct.pack("<H", 2) + b"ex" + b"name\0" + b"comment\0"
    full = fields + struct.pack("<H", zlib.crc32(fields) & 0xFFFF) + plain[2][10:]
    return [*plain, full, plain[1] + plain[2], plain[2] + bytes(7), full + bytes(3) + plain[4]]


def _zstd() -> list[bytes]:
    made = []
    for content in CONTENTS:
        for checksum, sized in ((True, True), (False, False)):
            made.append(zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=sized).compress(content))
    return [*made, SKIPPABLE + made[4] + SKIPPABLE + made[1], made[8] + made[3]]


def _xz() -> list[bytes]:
    checks = (lzma.CHECK_CRC64, lzma.CHECK_CRC32, lzma.CHECK_SHA256, lzma.CHECK_NONE)
    # A small dictionary: the default would make each decoder allocate 8 MiB.
    small = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 16}]
    made = [lzma.compress(content, check=check, filters=small) for content in CONTENTS for check in checks]
    delta = lzma.compress(CONTENTS[2], filters=[{"id": lzma.FILTER_DELTA, "dist": 4}, *small])
    return [*made, delta, made[4] + bytes(4) + made[9], made[8] + bytes(8)]


def _bz2() -> list[bytes]:
    made = [bz2.compress(content, 1) for content in CONTENTS]
    return [*made, made[1] + made[2], bz2.compress(NOISE, 9)]


def _lz4() -> list[bytes]:
    made = []
    for content in CONTENTS:
        made.append(lz4.frame.compress(content, content_checksum=True, block_checksum=True))
        made.append(lz4.frame.compress(content, store_size=False, block_linked=False))
    return [*made, SKIPPABLE + made[4], made[5] + SKIPPABLE + made[2]]


def _zip() -> list[bytes]:
    made = [zip_of({"disk.img": content}) for content in CONTENTS]
    made += [zip_of({"disk.img": content}, method=zipfile.ZIP_STORED) for content in CONTENTS]
    made += [zip_of({"disk.img": CONTENTS[2]}, streamed=True), zip_of({"disk.img": CONTENTS[2]}, streamed=True, zip64=True)]
    return [*made, zip_of(DIRECTORY), zip_of({"disk.img": NOISE}, zip64=True, comment=b"comment"), zip_of({})]


def _lha() -> list[bytes]:
    made = [lha_of(content, b"-lh0-", level) for content in CONTENTS for level in (0, 1, 2)]
    made += [lha_of(content, b"-lh5-", level) for content in CONTENTS[2:] for level in (0, 2)]
    bomb = lh5_bomb(70_000)
    return [*made, lha_of(bomb, b"-lh0-"), lha_of(b"", b"-lhd-", 1, b"dir")[:-1] + made[0], made[0] + bytes(9)]


SEEDS = {"gzip": _gzip, "zstd": _zstd, "xz": _xz, "bz2": _bz2, "lz4": _lz4, "zip": _zip, "lha": _lha}


def repaired(name: str, blob: bytes) -> bytes:
    """With the checksum that stands in front made right, so that a mutation gets past it."""
    if name == "lha" and len(blob) > 22 and blob[20] in (0, 1):
        return blob[:1] + bytes([sum(blob[2 : blob[0] + 2]) & 0xFF]) + blob[2:]
    if name == "xz" and len(blob) > 16:
        return _repaired_xz(blob)
    if name == "gzip" and len(blob) > 18:
        return _repaired_gzip(blob)
    return blob


def _repaired_xz(blob: bytes) -> bytes:
    """The stream's flags and the first block's header (The .xz File Format 2.1.1, 3.1)."""
    size = (blob[12] + 1) * 4
    header = blob[12 : 12 + size - 4]
    flags = blob[:8] + struct.pack("<I", zlib.crc32(blob[6:8]))
    return flags + header + struct.pack("<I", zlib.crc32(header)) + blob[12 + size :] if len(blob) > 12 + size else blob


def _repaired_gzip(blob: bytes) -> bytes:
    """The trailer of a member with a plain header, if what is before it inflates."""
    inflate = zlib.decompressobj(-15)
    try:
        content = inflate.decompress(blob[10:], 1 << 20)
    except zlib.error:
        return blob
    if not inflate.eof:
        return blob
    end = len(blob) - len(inflate.unused_data)
    return blob[:end] + struct.pack("<2I", zlib.crc32(content), len(content)) + inflate.unused_data[8:]
