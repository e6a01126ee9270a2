"""Decoding to nowhere, into one buffer, by the fastest library that was found: isal for gzip, zstandard for zstd.

They are called as directly as they can be, and not through our decoders, which check more.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import zstandard
from isal import igzip_lib

from compare.ground import Ground
from compare.job import Job, Watch, part, require
from compare.result import Sample

INPUT = 256 << 10
OUTPUT = 1 << 20  # isal makes new bytes of each piece: larger ones leave the CPU's cache
BUFFER = 4 << 20  # zstandard fills what it is given


def decoding(format: str, source: str, of: str) -> Job:
    """``of``: the source whose bytes must come out, here by their number alone."""
    title = f"{format} decoded to nowhere ({'isal' if format == 'gzip' else 'zstandard'})"
    return part(f"decode-{source}", title, "decode", partial(run, format=format, source=source, of=of), source, of)


def run(ground: Ground, format: str, source: str, of: str) -> Sample:
    decode = {"gzip": decode_gzip, "zstd": decode_zstd}[format]
    watch = Watch()
    decoded = decode(ground.source(source))
    sample = watch.read()
    require(decoded, ground.source(of).stat().st_size, "bytes decoded")
    return sample


def decode_gzip(path: Path) -> int:
    """The bytes that one member holds; ISA-L checks its CRC and size."""
    decoded = 0
    with path.open("rb", buffering=0) as file:
        frame = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not frame.eof:
            decoded += len(frame.decompress(file.read(INPUT) if frame.needs_input else b"", OUTPUT))
    return decoded


def decode_zstd(path: Path) -> int:
    decoded = 0
    with path.open("rb", buffering=0) as file, memoryview(bytearray(BUFFER)) as buffer:
        stream = zstandard.ZstdDecompressor().stream_reader(file, INPUT)
        while count := stream.readinto(buffer):
            decoded += count
    return decoded
