"""The bytes that are measured on: neither a store's compression nor its deduplication can make them less."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from glance_stream.chunker import DEFAULT_SLOT_SIZE

BLOCK_SIZE = 64 << 20  # random bytes cost more than writing them; one block of them is made and used again and again
STAMP_EVERY = 4096  # what file systems deduplicate by, at the finest


def make(path: Path, size: int) -> None:
    """Write ``size`` bytes and wait until they are on the disk, so that no write-back disturbs what is measured next."""
    block = bytearray(os.urandom(min(size, BLOCK_SIZE)))
    with path.open("xb", buffering=0) as file:
        for at in range(0, size, len(block)):
            stamp(block, at)
            _write_all(file.fileno(), memoryview(block)[: size - at])
        os.fsync(file.fileno())


def stamp(block: bytearray, offset: int) -> None:
    """Write into each 4 KiB of a block its place in the file: no two are the same, though the block comes back."""
    for at in range(0, len(block) - 7, STAMP_EVERY):
        struct.pack_into(">Q", block, at, (offset + at) // STAMP_EVERY)


def warm(path: Path) -> None:
    """Bring the file into the page cache, from where the part before may have driven it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        read_through(fd)
    finally:
        os.close(fd)


def read_through(fd: int) -> int:
    """Read to the end into one small buffer; the bytes read."""
    buffer = bytearray(DEFAULT_SLOT_SIZE)
    done = 0
    while count := os.readv(fd, [buffer]):
        done += count
    return done


def _write_all(fd: int, left: memoryview) -> None:
    while left:
        left = left[os.write(fd, left) :]
