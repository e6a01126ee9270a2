"""A raw disk of which little is in use, and one of which nothing is."""

from __future__ import annotations

import os
from pathlib import Path

from compare.ground import Ground
from glance_stream.benchmark.workload import stamp

USED = 10  # one part in so many
EXTENTS = 16  # in which that lies, evenly spread
GRAIN = 64 << 10  # to which they are aligned: what our stores make holes of, and larger than any file system's block


def make(ground: Ground, path: Path) -> None:
    """A tenth in use, of random bytes; the rest are holes."""
    distance = ground.size // EXTENTS // GRAIN * GRAIN
    block = bytearray(os.urandom(distance // USED // GRAIN * GRAIN or GRAIN))
    with path.open("wb", buffering=0) as file:
        file.truncate(ground.size)
        for number in range(EXTENTS):
            stamp(block, number * distance)
            file.seek(number * distance)
            file.write(block)
        os.fsync(file.fileno())


def make_holes(ground: Ground, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(ground.size)
