"""From the source to the ring: reading, decoding ahead in its own thread, hashing the compressed bytes where that is asked.

Without decoding there is one ring and one thread that reads into it. With decoding a second, small ring stands before the
first::

    source ─► ring of compressed bytes ─┬─► decoder ─► ring of image bytes ─► ...
                                        └─► digests of the compressed bytes

so that reading ahead, decoding and hashing each have a thread, and memory stays fixed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from glance_stream import threads
from glance_stream.chunker import DigestLane, Lane, Ring, Slot
from glance_stream.decode import open_decoder
from glance_stream.decode.base import DecodeLimits
from glance_stream.errors import SourceError
from glance_stream.sources.base import Source, SourceInfo

# Compressed bytes come several times slower than image bytes go: a few small slots read ahead far enough.
COMPRESSED_SLOTS = 4
COMPRESSED_SLOT_SIZE = 1 << 20

ReadInto = Callable[[memoryview], int]


class Intake:
    """Fills ``ring`` from an open source. ``jobs`` are the blocking functions that must run, each on a thread of its own."""

    def __init__(self, source: Source, info: SourceInfo, head: bytes, ring: Ring) -> None:
        """``head``: bytes already taken from the source."""
        self._source = source
        self._info = info
        self._head = head
        self._ring = ring
        self._compressed: Ring | None = None
        self._compressed_digests: list[DigestLane] = []
        self.jobs: list[Callable[[], None]] = [lambda: self._read(ring)]

    def decode(self, format: str, limits: DecodeLimits, digests: Iterable[str] = ()) -> None:
        """Put a decoder before the ring; ``digests`` are computed of the compressed bytes."""
        self._compressed = compressed = Ring(COMPRESSED_SLOTS, COMPRESSED_SLOT_SIZE)
        lane = compressed.lane()
        self._compressed_digests = [DigestLane(compressed, name) for name in digests]
        self.jobs = [
            lambda: self._read(compressed),
            lambda: self._decode(format, lane, limits),
            *(digest.run for digest in self._compressed_digests),
        ]

    @property
    def read(self) -> int:
        """Bytes of the source so far."""
        return (self._compressed or self._ring).produced

    def compressed_digests(self) -> dict[str, str]:
        """Of the bytes as the source gave them, once all jobs have ended."""
        return {lane.algorithm: lane.hexdigest() for lane in self._compressed_digests}

    def stop(self) -> None:
        """Make every job end soon. Any thread."""
        self._ring.fail()
        if self._compressed is not None:
            self._compressed.fail()
        self._source.interrupt()

    def close(self) -> None:
        """Close the source. Only while no job runs: a job that reads closes it itself."""
        self._source.close()

    def _read(self, ring: Ring) -> None:
        """Closes the source itself, because only this thread knows that no read is under way any more."""
        try:
            fd = self._source.fileno()
            if fd is not None:
                self._fill_from_fd(ring, fd)
            else:
                pour(prefixed(self._head, self._source.readinto), ring)
            self._source.verify_unchanged()
            if self._info.size is not None and ring.produced != self._info.size:
                raise SourceError(f"{self._source.name}: {ring.produced} bytes came, {self._info.size} were announced")
            ring.finish()
        finally:
            self._source.close()

    def _fill_from_fd(self, ring: Ring, fd: int) -> None:
        try:
            ring.fill_fd(fd, self._head)
        except OSError as error:
            raise SourceError(f"{self._source.name}: {error.strerror}") from error

    def _decode(self, format: str, lane: Lane, limits: DecodeLimits) -> None:
        decoder = open_decoder(format, LaneReader(lane), limits)
        try:
            pour(decoder.readinto, self._ring)
            self._ring.finish()
        finally:
            decoder.close()
            lane.detach()


class LaneReader:
    """The compressed side of a decoder: a lane read as a file."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._slot: Slot | None = None
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes of one slot; b'' at the end. Raises LaneStopped when the source broke."""
        if self._slot is None:
            self._slot = self._lane.take()
            self._at = 0
            if self._slot is None:
                return b""
        end = self._slot.length if size < 0 else min(self._slot.length, self._at + size)
        with self._slot.view as view:
            piece = bytes(view[self._at : end])
        self._at = end
        if end == self._slot.length:
            self._slot = None
            self._lane.release()
        return piece


def prefixed(head: bytes, readinto: ReadInto) -> ReadInto:
    """A readinto that gives ``head`` first."""
    left = memoryview(head)

    def read(view: memoryview) -> int:
        nonlocal left
        if not left:
            return readinto(view)
        n = min(len(left), len(view))
        view[:n] = left[:n]
        left = left[n:]
        return n

    return read


def pour(readinto: ReadInto, ring: Ring) -> None:
    """Fill slot after slot until readinto gives 0."""
    while True:
        with ring.reserve() as view:
            have = fill(readinto, view)
            whole = have == len(view)
        if have:
            ring.publish(have)
        if not whole:
            return


def fill(readinto: ReadInto, view: memoryview) -> int:
    """Read until the view is full or the data ends; the bytes read."""
    have = 0
    while have < len(view):
        with view[have:] as rest:
            n = readinto(rest)
        if n == 0:
            break
        have += n
    return have


async def open_source(source: Source, head_size: int, seconds: float) -> tuple[SourceInfo, bytes]:
    """Open the source and read its first bytes. Raises SourceError, InvalidRequest; the source is closed then."""
    opening = asyncio.ensure_future(threads.call(_open_and_read, source, head_size))
    try:
        await asyncio.wait([opening], timeout=seconds)
    finally:
        if not opening.done():
            source.interrupt()
            opening.add_done_callback(lambda done: done.cancelled() or done.exception() or source.close())
    if not opening.done():
        raise SourceError(f"nothing came from {source.name} for {seconds:g} s")
    return opening.result()


def _open_and_read(source: Source, head_size: int) -> tuple[SourceInfo, bytes]:
    try:
        info = source.open()
        with memoryview(bytearray(head_size)) as view:
            return info, bytes(view[: fill(source.readinto, view)])
    except BaseException:
        source.close()
        raise
