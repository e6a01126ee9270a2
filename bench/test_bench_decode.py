"""Each decoder beside a plain loop over the library it stands on, and beside zlib where that reads the format too.

The sample is a tar of the standard library: text and code, much like the files in an image. LHA has no packer here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import pytest
import zstandard
from isal import igzip

from glance_stream.chunker import DEFAULT_SLOT_SIZE
from glance_stream.decode import open_decoder

# xz and bz2 are an order of magnitude slower than the others; groups are compared within themselves only.
SHARE = {"xz": 8, "bz2": 8}


def zipped(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("image", data)
    return archive.getvalue()


def unzipped(compressed: BinaryIO) -> BinaryIO:
    return zipfile.ZipFile(compressed).open("image")  # type: ignore[return-value]


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6),
    "zstd": zstandard.ZstdCompressor(3).compress,
    "xz": lambda data: lzma.compress(data, preset=1),
    "bz2": lambda data: bz2.compress(data, 9),
    "lz4": lz4.frame.compress,
    "zip": zipped,
}

# By format and name: how a script would open the compressed stream.
PLAIN: dict[tuple[str, str], Callable[[BinaryIO], Any]] = {
    ("gzip", "isal"): igzip.open,
    ("gzip", "zlib"): gzip.open,
    ("zstd", "zstandard"): lambda compressed: zstandard.ZstdDecompressor().stream_reader(compressed),
    ("xz", "lzma"): lzma.open,
    ("bz2", "bz2"): bz2.open,
    ("lz4", "lz4"): lz4.frame.open,
    ("zip", "zlib"): unzipped,
}


@pytest.fixture(scope="session")
def tar(size: int) -> bytes:
    """As much of the standard library as fits, over and over if it is too small."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        for path in sorted(Path(tarfile.__file__).parent.rglob("*.py")):
            if packed.tell() >= size:
                break
            if "site-packages" not in path.parts:
                file.add(path)
    data = packed.getvalue()
    return (data * (size // len(data) + 1))[:size]


@pytest.fixture(scope="session")
def sample(tar: bytes) -> Callable[[str], tuple[bytes, int]]:
    """sample(format): the compressed bytes, and how many they decode to."""
    packed: dict[str, tuple[bytes, int]] = {}

    def sample(format: str) -> tuple[bytes, int]:
        if format not in packed:
            data = tar[: len(tar) // SHARE.get(format, 1)]
            packed[format] = PACK[format](data), len(data)
        return packed[format]

    return sample


def drain(readinto: Callable[[memoryview], int]) -> int:
    """To the end, a slot at a time; the bytes that came."""
    buffer = memoryview(bytearray(DEFAULT_SLOT_SIZE))
    done = 0
    while count := readinto(buffer):
        done += count
    return done


@pytest.mark.parametrize("format", list(PACK))
def test_ours(measure: Callable[..., Any], sample: Callable[[str], tuple[bytes, int]], format: str) -> None:
    compressed, size = sample(format)

    def run() -> int:
        decoder = open_decoder(format, io.BytesIO(compressed))
        try:
            return drain(decoder.readinto)
        finally:
            decoder.close()

    assert measure(f"decode {format}", run, size) == size


@pytest.mark.parametrize(("format", "library"), list(PLAIN))
def test_library(measure: Callable[..., Any], sample: Callable[[str], tuple[bytes, int]], format: str, library: str) -> None:
    compressed, size = sample(format)

    def run() -> int:
        with PLAIN[format, library](io.BytesIO(compressed)) as file:
            return drain(file.readinto)

    assert measure(f"decode {format}", run, size) == size
