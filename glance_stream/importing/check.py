"""Trying out a store: whether it opens, what it can do, how long it takes to answer and how fast it writes and reads.

No catalogue is needed. What is written goes the way of an import, under a new name, and is removed whatever happens; a process that
is killed in between leaves an object that no record knows.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from glance_stream import threads
from glance_stream.errors import GlanceStreamError, Leftover, StoreError
from glance_stream.importing.asking import ask
from glance_stream.importing.choosing import open_store
from glance_stream.model import DEFAULT_HASH_ALGO, Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import Store
from glance_stream.transfer import Limits, Observer, Recorder, TransferRequest, examine, transfer
from glance_stream.transfer.target import as_store_error

AT_ONCE = 8  # stores that are opened side by side
ROUND_TRIPS = 5
BLOCK = 8 << 20  # of random bytes, made once and repeated: nothing on the way may compress them


@dataclass
class StoreCheck:
    """What is known of one store so far. Times in seconds, sizes in bytes; None: not known, or not tried.

    latency: the median time of a look for an image that is not there. size: of what was written and read back. leftovers: what
    could not be removed again. begun, ended: the trial.
    """

    store: Store
    error: GlanceStreamError | None = None
    latency: float | None = None
    free: int | None = None
    size: int = 0
    write_seconds: float | None = None
    read_seconds: float | None = None
    leftovers: list[Leftover] = field(default_factory=list)
    begun: bool = False
    ended: bool = False

    @property
    def status(self) -> str:
        """'ok' only of a store that was tried to the end."""
        if self.error is not None:
            return "error"
        return "ok" if self.ended else "interrupted" if self.begun else "not tried"


async def open_all(checks: Sequence[StoreCheck]) -> None:
    """Open the stores, some at a time. One that fails has an error afterwards."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def attempt(check: StoreCheck) -> None:
        async with turn:
            try:
                await open_store(check.store)
            except Exception as error:
                check.error = as_store_error(check.store.store_id, error)

    await asyncio.gather(*(attempt(check) for check in checks))


async def try_out(check: StoreCheck, size: int | None, limits: Limits, observer: Observer | None = None) -> None:
    """Measure an open store. One at a time, or they would measure each other. A failure is the check's error.

    size: bytes to write, read back and delete; None for nothing. A read-only store is only asked.
    """
    check.begun = True
    try:
        if size is not None and not check.store.traits.read_only:
            await _write_and_read(check, size, limits, observer)
        check.latency = await _latency(check.store, limits)
        check.free = await ask(check.store.store_id, check.store.free_space(), limits.undo_timeout)
        check.ended = True
    except Exception as error:
        check.error = as_store_error(check.store.store_id, error)


async def _latency(store: Store, limits: Limits) -> float:
    seconds = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        await ask(store.store_id, store.find(str(uuid.uuid4())), limits.undo_timeout)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


async def _write_and_read(check: StoreCheck, size: int, limits: Limits, observer: Observer | None) -> None:
    store = check.store
    source = RandomSource(size)
    request = TransferRequest(str(uuid.uuid4()), source, [store], decompress="never", limits=limits)
    began = time.perf_counter()
    done = await transfer(request, _Remembering(check), observer)
    check.size, check.write_seconds = size, time.perf_counter() - began
    location = done.locations[store.store_id]
    try:
        began = time.perf_counter()
        found = await examine(store.open_reader(location), [DEFAULT_HASH_ALGO], limits.slot_size, limits, observer)
        if found.digests[DEFAULT_HASH_ALGO] != done.verified.os_hash_value:
            raise StoreError(store.store_id, "what was read back is not what was written")
        check.read_seconds = time.perf_counter() - began
    finally:
        if await threads.to_its_end(_delete(check, location, limits)):
            raise asyncio.CancelledError


async def _delete(check: StoreCheck, location: Location, limits: Limits) -> None:
    """What can't be deleted is a leftover, and the check has failed."""
    try:
        await ask(location.store_id, check.store.delete(location), limits.undo_timeout)
    except GlanceStreamError as error:
        check.error = error
        check.leftovers.append(Leftover(location.store_id, location.url, str(error)))


class _Remembering(Recorder):
    """Keeps what a rollback could not remove, also that of a cancelled transfer, which raises no error of ours."""

    def __init__(self, check: StoreCheck) -> None:
        self._check = check

    async def rolled_back(self, failures: object, leftovers: Sequence[Leftover]) -> None:
        self._check.leftovers += leftovers


class RandomSource(Source):
    """``size`` bytes that don't compress. Memory: 8 MiB at most."""

    name = "random bytes"

    def __init__(self, size: int) -> None:
        self._left = self._size = size
        self._block = memoryview(os.urandom(min(size, BLOCK)))

    def open(self) -> SourceInfo:
        return SourceInfo(self._size)

    def readinto(self, view: memoryview) -> int:
        at = (self._size - self._left) % len(self._block)
        count = min(len(view), self._left, len(self._block) - at)
        view[:count] = self._block[at : at + count]
        self._left -= count
        return count

    def close(self) -> None:
        pass
