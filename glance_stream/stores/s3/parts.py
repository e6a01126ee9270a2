"""How large each part of a multipart upload is, and the buffers that parts are collected in.

S3 takes at most 10,000 parts of 5 MiB to 5 GiB, only the last may be smaller, and 5 TiB in all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from glance_stream.errors import StoreError, StoreFull

MIB = 1 << 20
SMALLEST_PART = 5 * MIB
LARGEST_PART = 5 << 30
MOST_PARTS = 10_000
LARGEST_OBJECT = 5 << 40
EVEN_PARTS = 1_000  # of an image of unknown size: 8 GiB in parts of 8 MiB, more than most images have


@dataclass(frozen=True)
class PartSizes:
    """The size of each part by its number, from 1.

    Of a size that is known and needs many parts, all are as large as 10,000 of them must be. Otherwise the first 1,000 have
    ``part_size`` and each later one is larger than the one before by the same step, such that the 10,000th ends at 5 TiB or
    beyond: 1.1 GiB for parts of 8 MiB. Growing by a step needs smaller parts at the end than growing by a factor.
    """

    part_size: int
    size_hint: int | None = None

    def __getitem__(self, number: int) -> int:
        if self.size_hint is not None and self.size_hint > EVEN_PARTS * self.part_size:
            return max(self.part_size, _up(-(-self.size_hint // MOST_PARTS)))
        grown = max(0, number - EVEN_PARTS)
        return min(LARGEST_PART, self.part_size + grown * self._step)

    def count(self, size: int) -> int:
        """Of the parts of an image whose size was given as the hint: all are of one size."""
        return -(-size // self[1])

    @property
    def _step(self) -> int:
        growing = MOST_PARTS - EVEN_PARTS
        missing = LARGEST_OBJECT - MOST_PARTS * self.part_size
        return max(0, -(-2 * missing // (growing * (growing + 1))))


def _up(size: int) -> int:
    return -(-size // MIB) * MIB


class Part:
    """A part's buffer. ``taken``: bytes in it so far."""

    def __init__(self, number: int, size: int, buffer: bytearray) -> None:
        self.number = number
        self.size = size
        self.taken = 0
        self.buffer = buffer

    @property
    def full(self) -> bool:
        return self.taken == self.size

    def take(self, view: memoryview) -> int:
        """Copy what fits; how much that was."""
        count = min(len(view), self.size - self.taken)
        with memoryview(self.buffer) as whole:  # a slice of the bytearray itself would copy twice
            whole[self.taken : self.taken + count] = view[:count]
        self.taken += count
        return count

    @contextmanager
    def content(self) -> Iterator[memoryview]:
        with memoryview(self.buffer) as whole, whole[: self.taken] as body:
            yield body


class Buffers:
    """Lends out buffers of ``limit`` bytes together, or two where already two are more than that."""

    def __init__(self, store_id: str, limit: int) -> None:
        self._store_id = store_id
        self._limit = limit
        self._changed = threading.Condition()
        self._lent = 0
        self._free: list[bytearray] = []
        self._reason: StoreError | None = None

    def part(self, number: int, size: int) -> Part:
        """Waits for room. Raises StoreFull beyond the last number, and what `stop` was given."""
        if number > MOST_PARTS:
            raise StoreFull(
                self._store_id, f"the image does not fit into {MOST_PARTS} parts: announce its size, or set a larger part_size"
            )
        with self._changed:
            self._changed.wait_for(lambda: self._reason is not None or self._lent + size <= max(self._limit, 2 * size))
            self.check()
            self._lent += size
            self._free = [each for each in self._free if len(each) == size]
            buffer = self._free.pop() if self._free else bytearray(size)
        return Part(number, size, buffer)

    def give_back(self, part: Part) -> None:
        with self._changed:
            self._lent -= part.size
            buffer, part.buffer = part.buffer, bytearray()  # an error's traceback may hold the part for long
            if self._reason is None:
                self._free.append(buffer)
            self._changed.notify_all()

    def stop(self, reason: StoreError) -> None:
        """Nobody gets or waits for a buffer any more; only the first reason counts."""
        with self._changed:
            self._reason = self._reason or reason
            self._free.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raises what `stop` was given."""
        if self._reason is not None:
            raise self._reason
