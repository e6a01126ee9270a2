"""What hangs is given up in its time, and does no harm when it comes back."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from faults.fault import PATIENCE, Hang
from faults.loop import run
from faults.store import FaultyStore
from subject import IMAGE, SLOT, Drain, content, drain_all, read_all, read_some

from glance_stream import threads
from glance_stream.chunker import LaneStopped, Ring, WriteLane
from glance_stream.errors import NotFound, SourceError, StoreTimeout, StoreUnavailable
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import Store, Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.time_limits import TimeLimitedStore, TimeLimits
from glance_stream.stores.wrappers.wrapper import SourceWrapper, StoreWrapper

SHORT = 0.25
LIMITS = TimeLimits(open=SHORT, call=SHORT, progress=SHORT)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.release()


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    until(lambda: sum(thread.name == "glance-stream" for thread in threading.enumerate()) == len(threads.THREADS._idle))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


# -- calls ----------------------------------------------------------------------------------------------------------------


class Hanging(StoreWrapper):
    """Hangs in the calls that `FaultyStore` has no step for."""

    def __init__(self, inner: Store, hang: Hang) -> None:
        super().__init__(inner)
        self.hang = hang

    async def open(self) -> None:
        await self.hang.strike()

    async def strays(self) -> list:  # type: ignore[type-arg]
        await self.hang.strike()
        return []

    async def free_space(self) -> None:
        await self.hang.strike()


LOCATION = Location(f"memory://mem/{IMAGE}", "mem")
CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "stat": lambda store: store.stat(LOCATION),
    "delete": lambda store: store.delete(LOCATION),
    "discard": lambda store: store.discard("memory://mem/.x.0.part"),
    "find": lambda store: store.find(IMAGE),
    "open": lambda store: store.open(),
    "strays": lambda store: store.strays(),
    "sweep": lambda store: store.sweep(0),
    "free_space": lambda store: store.free_space(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_hangs_is_given_up(call: str, hang: Hang) -> None:
    faulty = FaultyStore(MemoryStore("mem"), dict.fromkeys(("stat", "delete", "discard", "find"), hang))
    store = TimeLimitedStore(Hanging(faulty, hang), LIMITS)

    async def scenario() -> None:
        with pytest.raises(StoreTimeout, match=r"mem.*within 0\.25 s"):
            await CALLS[call](store)
        hang.release()

    run(scenario())


def test_a_call_that_has_no_limit_is_waited_for() -> None:
    memory = MemoryStore("mem")
    store = TimeLimitedStore(memory, TimeLimits(progress=SHORT))
    with pytest.raises(NotFound):
        run(store.stat(LOCATION))


def test_a_stores_own_timeout_error_passes_as_it_is() -> None:
    class Confused(MemoryStore):
        async def find(self, image_id: str) -> Location | None:
            raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        run(TimeLimitedStore(Confused("mem"), LIMITS).find(IMAGE))


# -- writing --------------------------------------------------------------------------------------------------------------


async def through(writer: Writer) -> None:
    await writer.open(3)
    writer.write(memoryview(b"abc"))
    await writer.flush(3)
    await writer.abort()


@pytest.mark.parametrize("step", ["open", "opened", "abort"])
def test_a_writer_that_hangs_is_given_up_and_leaves_nothing(step: str, hang: Hang) -> None:
    memory = MemoryStore("mem")
    store = TimeLimitedStore(FaultyStore(memory, {step: hang}), LIMITS)

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        with pytest.raises(StoreTimeout):
            await through(writer)
        hang.release()
        await writer.abort()

    run(scenario())
    assert (memory.objects, memory.pending) == ({}, {})


@pytest.mark.parametrize("step", ["flush", "commit-before"])
def test_a_flush_and_a_commit_are_not_given_up(step: str, hang: Hang) -> None:
    """A flush may take minutes where there are many GB, a commit would be in doubt."""
    memory = MemoryStore("mem")
    store = TimeLimitedStore(FaultyStore(memory, {step: hang}), LIMITS)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        writer.write(memoryview(b"abc"))

        async def end() -> None:
            await writer.flush(3)
            await writer.commit(3, {})

        ending = asyncio.ensure_future(end())
        await asyncio.sleep(3 * SHORT)
        assert not ending.done()
        hang.release()
        await ending

    run(scenario())
    assert memory.objects == {IMAGE: b"abc"}


@pytest.mark.parametrize("limits", [LIMITS, TimeLimits(call=SHORT)])
def test_no_ring_is_kept_after_a_drain(limits: TimeLimits) -> None:
    async def scenario() -> None:
        writer = await TimeLimitedStore(MemoryStore("mem"), limits).open_writer(IMAGE, 5000)
        ring = Ring(2, SLOT)
        before = sys.getrefcount(ring)
        drain = Drain(writer, ring)
        ring.finish()
        assert drain.outcome() is None
        del drain
        gc.collect()
        assert sys.getrefcount(ring) == before
        await writer.abort()

    run(scenario())


@pytest.mark.parametrize("step", ["write:0", "write:2", "drained"])
def test_a_drain_that_hangs_is_given_up(step: str, hang: Hang) -> None:
    memory = MemoryStore("mem")
    store = TimeLimitedStore(FaultyStore(memory, {step: hang}), LIMITS)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        ring = Ring(2, SLOT)
        drain = Drain(writer, ring)
        for _ in range(8):  # the detached lane holds nobody up
            ring.reserve()[:] = b"x" * SLOT
            ring.publish(SLOT)
        ring.finish()
        error = drain.outcome()
        assert isinstance(error, StoreTimeout)
        assert "nothing was written for 0.25 s" in str(error)
        assert drain._lane.detached
        await writer.abort()
        hang.release()

    run(scenario())
    assert (memory.objects, memory.pending) == ({}, {})


def test_a_drain_that_waits_for_bytes_is_not_to_blame(hang: Hang) -> None:
    memory = MemoryStore("mem")

    async def scenario() -> None:
        writer = await TimeLimitedStore(memory, LIMITS).open_writer(IMAGE, None)
        ring = Ring(2, SLOT)
        drain = Drain(writer, ring)
        for _ in range(2):
            ring.reserve()[:] = b"x" * SLOT
            ring.publish(SLOT)
            await asyncio.sleep(3 * SHORT)
        ring.finish()
        assert drain.outcome() is None
        await writer.flush(2 * SLOT)
        await writer.commit(2 * SLOT, {})

    run(scenario())
    assert len(memory.objects[IMAGE]) == 2 * SLOT


@pytest.mark.parametrize("end", ["fail", "detach"])
def test_a_drain_that_hangs_when_the_ring_is_over_ends_too(end: str, hang: Hang) -> None:
    store = TimeLimitedStore(FaultyStore(MemoryStore("mem"), {"write:0": hang}), LIMITS)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        ring = Ring(2, SLOT)
        drain = Drain(writer, ring)
        ring.reserve()[:] = b"x" * SLOT
        ring.publish(SLOT)
        assert hang.reached.wait(20)
        if end == "fail":
            ring.fail()
        else:
            drain._lane.detach()
        assert isinstance(drain.outcome(), StoreTimeout | LaneStopped)
        await writer.abort()
        hang.release()

    run(scenario())


def test_a_native_lane_stays_native(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = await TimeLimitedStore(FileStore("files", tmp_path), LIMITS).open_writer(IMAGE, 3)
        assert isinstance(writer.attach(Ring(2, SLOT)), WriteLane)
        drain_all(writer, content(5000))
        await writer.abort()

    run(scenario())


# -- reading --------------------------------------------------------------------------------------------------------------


class Stuck(SourceWrapper):
    """Hangs, deaf to interrupts, at byte ``at``; when it comes back it writes rubbish where it was told to read to."""

    def __init__(self, inner: Source, store: StuckStore) -> None:
        super().__init__(inner)
        self._store = store
        self._position = 0
        self.closed = 0

    def open(self) -> SourceInfo:
        if self._store.opening is not None:
            self._store.opening.strike_blocking()
        info = super().open()
        return SourceInfo(info.size, self._store.validators.pop(0) if self._store.validators else None)

    def reopen(self, offset: int) -> None:
        super().reopen(offset)
        self._position = offset

    def readinto(self, view: memoryview) -> int:
        hang = self._store.hangs.get(self._position)
        if hang is not None and not hang.reached.is_set():
            hang.reached.set()
            assert hang._released.wait(PATIENCE)
            view[:] = b"\xee" * len(view)
            return len(view)
        count = super().readinto(view[:1000])
        self._position += count
        self._store.after_read(self._position)
        return count

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1
        super().close()


class StuckStore(MemoryStore):
    kind: type[Stuck] = Stuck

    def __init__(self, hangs: dict[int, Hang], validators: list[str | None], opening: Hang | None = None) -> None:
        super().__init__("mem")
        self.objects[IMAGE] = content(5500)
        self.hangs = hangs
        self.validators = validators
        self.opening = opening
        self.openings = 0
        self.readers: list[Stuck] = []
        self.after_read: Callable[[int], None] = lambda position: None

    def open_reader(self, location: Location) -> Source:
        self.readers.append(self.kind(super().open_reader(location), self))
        return self.readers[-1]


def test_a_read_that_hangs_is_given_up_and_closed_when_it_ends(hang: Hang) -> None:
    inner = StuckStore({2000: hang}, ["v"])
    source = TimeLimitedStore(inner, LIMITS).open_reader(LOCATION)
    with pytest.raises(StoreTimeout, match=r"within 0\.25 s"):
        read_all(source)
    with pytest.raises(StoreTimeout, match="given up"):
        source.readinto(memoryview(bytearray(10)))
    assert inner.readers[0].closed == 0  # its thread is still in it
    hang.release()
    until(lambda: inner.readers[0].closed == 1)


def test_an_opening_that_hangs_is_given_up(hang: Hang) -> None:
    source = TimeLimitedStore(StuckStore({}, ["v"], hang), LIMITS).open_reader(LOCATION)
    with pytest.raises(StoreTimeout, match="opening"):
        source.open()
    source.close()
    hang.release()


def test_what_hung_is_read_on_from_a_fresh_source(hang: Hang) -> None:
    """With retries around the limits. That the hung read comes back in the middle of another changes no byte."""
    other = Hang()
    inner = StuckStore({2000: hang, 4000: other}, ["v", "v", "v"])

    def come_back(position: int) -> None:
        if position == 3000:
            hang.release()
            until(lambda: inner.readers[0].closed == 1)

    inner.after_read = come_back
    source = RetryingStore(TimeLimitedStore(inner, LIMITS), RetryPolicy(base=0)).open_reader(LOCATION)
    source.open()
    found = read_some(source, 10_000)
    source.close()
    other.release()
    assert found == inner.objects[IMAGE]
    until(lambda: [reader.closed for reader in inner.readers] == [1, 1, 1])


@pytest.mark.parametrize("validators", [["v", "w"], [None, None]])
def test_what_does_not_show_that_it_is_the_same_is_not_read_on(validators: list[str | None], hang: Hang) -> None:
    source = TimeLimitedStore(StuckStore({2000: hang}, validators), LIMITS).open_reader(LOCATION)
    with pytest.raises(StoreTimeout):
        read_all(source)
    with pytest.raises(SourceError, match="changed"):
        source.reopen(2000)
    source.close()
    hang.release()


class Unasked(Stuck):
    """As a driver that tells no validator has it: a reopen is a fresh request, whatever came of the opening."""

    def open(self) -> SourceInfo:
        self._store.openings += 1
        if self._store.openings == 2:
            raise StoreUnavailable("mem", "503 busy")
        return super().open()

    def reopen(self, offset: int) -> None:
        MemoryStore.open_reader(self._store, LOCATION).open()
        self.inner.close()
        self.inner = MemoryStore.open_reader(self._store, LOCATION)
        self.inner.open()
        self.inner.reopen(offset)
        self._position = offset


@pytest.mark.parametrize(("validators", "ends"), [(["v", "w"], "changed"), ([None, None], "changed"), (["v", "v"], None)])
def test_a_fresh_source_that_fails_to_open_is_never_read_on_unseen(
    validators: list[str | None], ends: str | None, hang: Hang
) -> None:
    """The object is replaced while a read hangs, and the store is busy at the next try: two contents were once joined."""
    inner = StuckStore({2000: hang}, validators)
    inner.kind = Unasked
    source = RetryingStore(TimeLimitedStore(inner, LIMITS), RetryPolicy(base=0)).open_reader(LOCATION)
    source.open()
    found = bytearray(read_some(source, 2000))
    if ends:
        inner.objects[IMAGE] = b"B" * 8000
        with pytest.raises(SourceError, match=ends):
            read_some(source, 10_000)
    else:
        found += read_some(source, 10_000)
        assert found == inner.objects[IMAGE]
    source.close()
    hang.release()
    until(lambda: all(reader.closed for reader in inner.readers))
    assert inner.openings >= 3


def test_what_was_never_open_is_not_read(hang: Hang) -> None:
    source = TimeLimitedStore(StuckStore({}, ["v"], hang), LIMITS).open_reader(LOCATION)
    for call in (lambda: source.reopen(0), lambda: source.readinto(memoryview(bytearray(1)))):
        with pytest.raises(SourceError, match="not open"):
            call()
    with pytest.raises(StoreTimeout):
        source.open()
    with pytest.raises(SourceError, match="not open"):
        source.reopen(0)
    source.close()
    hang.release()


def test_an_interrupt_ends_a_read_that_is_deaf_to_it(hang: Hang) -> None:
    patient = TimeLimits(open=1000, progress=1000)
    source = TimeLimitedStore(StuckStore({0: hang}, ["v"]), patient).open_reader(LOCATION)
    source.open()
    threading.Thread(target=lambda: hang.reached.wait(20) and source.interrupt(), daemon=True).start()
    with pytest.raises(SourceError, match="interrupted"):
        source.readinto(memoryview(bytearray(10)))
    source.close()
    hang.release()


def test_a_source_without_limits_is_the_stores_own(tmp_path: Path) -> None:
    store = TimeLimitedStore(MemoryStore("mem"), TimeLimits(call=SHORT))
    assert not isinstance(store.open_reader(LOCATION), SourceWrapper)
