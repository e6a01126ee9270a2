"""A store under test, and the ways to fill and read it."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from glance_stream.chunker import PAGE_SIZE, Ring
from glance_stream.errors import StoreError
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import Store, Writer

IMAGE = "8c7dd922-ad47-4cfc-a91f-84e4e9e8a3a1"
OTHER = "0a1b2c3d-0000-4000-8000-00000000000f"
SLOT = 4 * PAGE_SIZE
SIZES = [1, PAGE_SIZE - 1, PAGE_SIZE, (64 << 10) + 1, 7 * SLOT + 123]


@dataclass
class Subject:
    """A store under test and a look behind its back."""

    store: Store
    objects: Callable[[], set[str]]  # image ids that are visible in the store
    leavings: Callable[[], list[str]]  # whatever is in the store beside them
    corrupt: Callable[[Location], None]  # change the object's bytes
    stored: tuple[Location, bytes] | None = None  # for a store that can't be written to
    large: int = 3 * PAGE_SIZE  # bytes of which an unfinished writer leaves something in the store

    def assert_holds(self, *image_ids: str) -> None:
        assert self.objects() == set(image_ids)
        assert self.leavings() == []

    async def assert_nothing_is_seen(self, image_id: str) -> None:
        """Before its commit the image is not found, nor there for anybody else, unless the store's traits say otherwise."""
        assert await self.store.find(image_id) is None
        assert self.objects() == set() or not self.store.traits.atomic_commit

    async def discard_beside_an_object(self, trace: str) -> None:
        """Of a writer that has left nothing, while the image has an object. Where that may be partial the store may refuse."""
        try:
            await self.store.discard(trace)
        except StoreError:
            assert not self.store.traits.atomic_commit


def content(size: int, seed: int = 1) -> bytes:
    """Random bytes with a run of zeros in their middle."""
    data = bytearray(random.Random(seed).randbytes(size))
    data[size // 3 : size // 2] = bytes(size // 2 - size // 3)
    return bytes(data)


def pieces(data: bytes) -> Iterable[memoryview]:
    """Uneven pieces in one buffer that is used again for each: a writer that keeps a reference stores rubbish."""
    sizes = itertools.cycle([1, 4095, 777, 65536, 3])
    buffer = bytearray(65536)
    at = 0
    while at < len(data):
        piece = data[at : at + next(sizes)]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
        buffer[:] = b"\xee" * len(buffer)
        at += len(piece)


def write_all(writer: Writer, data: bytes) -> None:
    for piece in pieces(data):
        writer.write(piece)


class Drain:
    """A drain on a thread of its own and how it ended."""

    def __init__(self, writer: Writer, ring: Ring) -> None:
        self._writer = writer
        self._lane = writer.attach(ring)
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._writer.drain(self._lane)
        except Exception as error:
            self._error = error

    def outcome(self) -> Exception | None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self._error


def drain_all(writer: Writer, data: bytes) -> None:
    """Through a ring, as a transfer does: the writer on a thread of its own."""
    ring = Ring(2, SLOT)
    drain = Drain(writer, ring)
    for at in range(0, len(data), SLOT):
        part = data[at : at + SLOT]
        with ring.reserve() as view:
            view[: len(part)] = part
        ring.publish(len(part))
    ring.finish()
    assert drain.outcome() is None


async def put(store: Store, image_id: str, data: bytes) -> Location:
    writer = await store.open_writer(image_id, len(data))
    write_all(writer, data)
    await writer.flush(len(data))
    return await writer.commit(len(data), {})


def read_all(source: Source) -> bytes:
    """All bytes of a source, and that it knows how many there are."""
    try:
        info = source.open()
        found = bytearray()
        buffer = memoryview(bytearray(10_000))
        while count := source.readinto(buffer):
            found += buffer[:count]
        source.verify_unchanged()
    finally:
        source.close()
    assert info.size == len(found)
    return bytes(found)


def read_some(source: Source, size: int) -> bytes:
    """The next ``size`` bytes of an open source, or what is left of it."""
    found = bytearray()
    buffer = memoryview(bytearray(10_000))
    while len(found) < size and (count := source.readinto(buffer[: size - len(found)])):
        found += buffer[:count]
    return bytes(found)


async def assert_ended(writer: Writer) -> None:
    """Nothing more can be done with it."""
    with pytest.raises(StoreError):
        writer.write(memoryview(b"more"))
    with pytest.raises(StoreError):
        await writer.flush(3)
    with pytest.raises(StoreError):
        await writer.commit(3, {})
