"""The Python twin's ring, slots and lanes: one condition variable, views told apart by ctypes, plain reads."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import mmap
import os
import select
import stat
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import xxhash

PAGE_SIZE = max(mmap.PAGESIZE, 4096)  # as the compiled core: also what O_DIRECT wants
DEFAULT_SLOT_SIZE = 4 << 20
DEFAULT_SLOTS = 8

POLL_MS = 100  # how soon a producer blocked on a pipe notices that the ring failed


class LaneStopped(Exception):
    """The ring failed or the lane was detached: the bytes seen so far are not the whole stream."""


class _State(enum.Enum):
    OPEN = enum.auto()
    FINISHED = enum.auto()
    FAILED = enum.auto()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A published run of bytes, as one lane sees it."""

    offset: int
    length: int
    zero: bool
    fingerprint: bytes
    # What the views are made from, while the slot is held; a list so that `Lane.release` can take it out.
    _lent: list[ctypes.Array[ctypes.c_ubyte]]

    @property
    def view(self) -> memoryview:
        if not self._lent:
            raise ValueError("the slot was released")
        return memoryview(self._lent[0]).cast("B")[: self.length].toreadonly()

    def __len__(self) -> int:
        return self.length

    def _take_back(self) -> None:
        """BufferError while a view, a slice or any other export is alive: each of them keeps the lent object alive."""
        lent = weakref.ref(self._lent.pop())
        still = lent()
        if still is not None:
            self._lent.append(still)
            raise BufferError("somebody still holds a view of the slot")


@final
class Ring:
    """Page-aligned slots, one producer, any number of lanes."""

    def __init__(self, slots: int = DEFAULT_SLOTS, slot_size: int = DEFAULT_SLOT_SIZE) -> None:
        if slots < 2:
            raise ValueError("a ring needs at least 2 slots")
        if slot_size <= 0 or slot_size % PAGE_SIZE:
            raise ValueError(f"slot_size must be a multiple of {PAGE_SIZE} bytes")
        self._slots = slots
        self._slot_size = slot_size
        try:
            self._memory = mmap.mmap(-1, slots * slot_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            raise MemoryError(f"no memory for {slots} slots of {slot_size} bytes") from error
        self._changed = threading.Condition()
        self._lanes: list[Lane] = []
        self._heads: list[tuple[int, int, bool, bytes]] = [(0, 0, False, b"")] * slots
        self._fingerprints = bytearray()
        self._head = 0  # slots published so far
        self._produced = 0
        self._state = _State.OPEN
        self._reserved = False
        self._short_seen = False

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def slot_size(self) -> int:
        return self._slot_size

    @property
    def produced(self) -> int:
        with self._changed:
            return self._produced

    @property
    def failed(self) -> bool:
        with self._changed:
            return self._state is _State.FAILED

    @property
    def finished(self) -> bool:
        with self._changed:
            return self._state is _State.FINISHED

    def reserve(self) -> memoryview:
        with self._changed:
            self._require_room()
            self._changed.wait_for(lambda: self._state is not _State.OPEN or self._next_is_free())
            self._require_open()
            self._reserved = True
            return self._next_slot()

    def publish(self, length: int) -> None:
        if not self._reserved:
            raise ValueError("publish() without reserve()")
        if not 0 < length <= self._slot_size:
            raise ValueError(f"length must be between 1 and {self._slot_size}")
        with self._next_slot()[:length] as view:
            fingerprint = xxhash.xxh3_128_digest(view)
            # The first page settles it for nearly every slot that is not zero.
            zero = bytes(view[:PAGE_SIZE]) == bytes(min(length, PAGE_SIZE)) and bytes(view) == bytes(length)
        with self._changed:
            self._require_open()
            self._reserved = False
            self._heads[self._head % self._slots] = (self._produced, length, zero, fingerprint)
            self._fingerprints += fingerprint
            self._head += 1
            self._produced += length
            self._short_seen = length < self._slot_size
            self._changed.notify_all()

    def fill_fd(self, fd: int, prefix: bytes = b"") -> int:
        with self._changed:
            self._require_room()
            self._require_open()
        self._reserved = False
        before = self.produced
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        os.read(fd, 0)  # EBADF now: a pipe's writing end never polls as readable
        end = False
        try:
            while not end:
                view = self.reserve()
                have = min(len(prefix), self._slot_size)
                view[:have] = prefix[:have]
                prefix = prefix[have:]
                while have < self._slot_size and not end:
                    some = self._read(fd, view[have:], regular)
                    have += some
                    end = not some
                if have:
                    self.publish(have)
        finally:
            self._reserved = False
        return self.produced - before

    def finish(self) -> None:
        with self._changed:
            if self._state is _State.OPEN:
                self._state = _State.FINISHED
            self._changed.notify_all()

    def fail(self) -> None:
        with self._changed:
            self._state = _State.FAILED
            self._changed.notify_all()

    def fingerprints(self) -> bytes:
        with self._changed:
            return bytes(self._fingerprints)

    def lane(self) -> Lane:
        return Lane(self)

    def _require_room(self) -> None:
        if self._short_seen:
            raise ValueError("a slot shorter than slot_size was the last one")

    def _require_open(self) -> None:
        if self._state is _State.FAILED:
            raise LaneStopped("the ring failed")
        if self._state is _State.FINISHED:
            raise ValueError("the stream is finished")

    def _next_is_free(self) -> bool:
        return all(lane._detached or self._head - lane._cursor < self._slots for lane in self._lanes)

    def _next_slot(self) -> memoryview:
        start = self._head % self._slots * self._slot_size
        return memoryview(self._memory)[start : start + self._slot_size]

    def _read(self, fd: int, view: memoryview, regular: bool) -> int:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        while True:
            ready = regular or poller.poll(POLL_MS)
            if self.failed:
                raise LaneStopped("the ring failed")
            if ready:
                with contextlib.suppress(BlockingIOError):
                    return os.readv(fd, [view])

    def _add(self, lane: Lane) -> None:
        with self._changed:
            if self._head:
                raise ValueError("a lane can't join a ring whose first slot is published")
            self._lanes.append(lane)

    def _slot(self, number: int) -> Slot:
        """The slot with an exporter of its own, so that each lane's views are told apart."""
        exporter = (ctypes.c_ubyte * self._slot_size).from_buffer(self._memory, number % self._slots * self._slot_size)
        return Slot(*self._heads[number % self._slots], [exporter])


class Lane:
    """One reader of the ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._changed = ring._changed
        self._cursor = 0  # slots let go
        self._position = 0
        self._detached = False
        self._held: Slot | None = None
        ring._add(self)

    @property
    def position(self) -> int:
        with self._changed:
            return self._position

    @property
    def detached(self) -> bool:
        with self._changed:
            return self._detached

    def take(self) -> Slot | None:
        if self._held is not None:
            raise ValueError("take() before the last slot was released")
        with self._changed:
            self._changed.wait_for(self._has_news)
            if self._detached or self._ring._state is _State.FAILED:
                raise LaneStopped("the ring failed or the lane was detached")
            if self._cursor == self._ring._head:
                return None
            self._held = self._ring._slot(self._cursor)
            return self._held

    def release(self) -> None:
        if self._held is None:
            raise ValueError("release() without take()")
        self._held._take_back()
        with self._changed:
            self._cursor += 1
            self._position += self._held.length
            self._held = None
            self._changed.notify_all()

    def detach(self) -> None:
        with self._changed:
            self._detached = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Slot]:
        while (slot := self.take()) is not None:
            try:
                yield slot
            except GeneratorExit:
                # The loop's body raised or broke off. A view that lives on in its traceback keeps the slot held: raising
                # here would only be printed, and letting go would overwrite what somebody can still read.
                with contextlib.suppress(BufferError):
                    self.release()
                raise
            self.release()

    def _has_news(self) -> bool:
        return self._detached or self._ring._state is not _State.OPEN or self._cursor < self._ring._head
