"""The pace: its arithmetic, its queue, and what waits for it. No clock but one that the waits themselves move."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.fault import Fail
from faults.loop import run
from faults.store import FaultyStore
from hypothesis import given
from hypothesis import strategies as st
from subject import IMAGE, SLOT, Drain, content, drain_all, put, read_all, write_all

from glance_stream.chunker import Lane, LaneStopped, Ring, WriteLane
from glance_stream.errors import SourceError, StoreError, StoreFull
from glance_stream.model import Location
from glance_stream.stores.base import Store, Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers.bandwidth import SLOTS, PacedStore
from glance_stream.stores.wrappers.token_bucket import SECOND, Bandwidth, TokenBucket, shared
from glance_stream.stores.wrappers.wrapper import StoreWrapper, WriterWrapper

RATE = 1 << 20


class Time:
    """Nanoseconds that only waits move; ``frozen`` ones don't, and say that they wait."""

    def __init__(self, *, frozen: bool = False) -> None:
        self.now = 0
        self.frozen = frozen
        self.waits = threading.Event()

    def clock(self) -> int:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        self.waits.set()
        if self.frozen:
            condition.wait(seconds)
        else:
            self.now += max(1, round(seconds * SECOND))


def bandwidth(time: Time, rate: int = RATE) -> Bandwidth:
    return Bandwidth(rate, clock=time.clock, wait=time.wait)


# -- arithmetic -----------------------------------------------------------------------------------------------------------


@given(
    rate=st.integers(1, 1 << 40),
    burst=st.integers(1, 1 << 24),
    steps=st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(0, 1 << 24)), max_size=60),
)
def test_over_any_time_no_more_than_rate_and_burst_pass(rate: int, burst: int, steps: list[tuple[int, int]]) -> None:
    bucket, now = TokenBucket(rate, burst, 0), 0
    passed: list[tuple[int, int]] = []
    for pause, size in steps:
        now += pause
        size = min(size, burst)
        if not bucket.take(size, now):
            passed.append((now, size))
    for first in range(len(passed)):
        total = 0
        for at, size in passed[first:]:
            total += size
            assert total * SECOND <= rate * (at - passed[first][0]) + burst * SECOND


@given(
    rate=st.integers(1, 1 << 40),
    burst=st.integers(1, 1 << 24),
    sizes=st.lists(st.integers(1, 1 << 24), min_size=1, max_size=60),
)
def test_nobody_waits_longer_than_it_takes(rate: int, burst: int, sizes: list[int]) -> None:
    """Whoever asks again when told to gets it then, and not a nanosecond before; nothing that was refilled is lost."""
    bucket, now, total = TokenBucket(rate, burst, 0), 0, 0
    for size in sizes:
        size = min(size, burst)
        delay = bucket.take(size, now)
        if delay:
            assert bucket.take(size, now + delay - 1) == 1
            now += delay
            assert bucket.take(size, now) == 0
        total += size
        assert (total - burst) * SECOND <= rate * now
    # Every wait but for the last nanosecond's rounding was needed.
    assert rate * max(0, now - len(sizes)) <= max(0, total - burst) * SECOND


def test_time_that_stands_still_or_rests_long_gives_no_more_than_a_burst() -> None:
    bucket = TokenBucket(1000, 100, 0)
    assert bucket.take(100, 0) == 0
    assert bucket.take(1, 0) == SECOND // 1000
    assert bucket.take(100, 10**18) == 0
    assert bucket.take(100, 10**18) == SECOND // 10


@pytest.mark.parametrize(("rate", "burst"), [(1, 4096), (1 << 20, (1 << 20) // 10), (1 << 40, 16 << 20)])
def test_a_burst_is_bounded(rate: int, burst: int) -> None:
    assert Bandwidth(rate).burst == burst


# -- the queue ------------------------------------------------------------------------------------------------------------


def test_who_comes_first_goes_first() -> None:
    time = Time(frozen=True)
    limit = bandwidth(time)
    assert limit.take(limit.burst, lambda: False)
    order: list[int] = []
    stopped = threading.Event()

    def ask(number: int) -> None:
        if limit.take(1000, stopped.is_set):
            order.append(number)

    askers = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(5)]
    for number, asker in enumerate(askers):
        asker.start()
        until(lambda number=number: limit.waiting == number + 1)  # type: ignore[misc]
    assert order == []
    for count in range(1, 6):
        time.now += 1000 * SECOND // RATE + 1
        until(lambda count=count: len(order) == count)  # type: ignore[misc]
    assert order == [0, 1, 2, 3, 4]
    for asker in askers:
        asker.join(20)


def test_one_that_is_stopped_leaves_the_queue_and_takes_nothing() -> None:
    time = Time(frozen=True)
    limit = bandwidth(time)
    assert limit.take(limit.burst, lambda: False)
    stopped = threading.Event()
    results: list[bool] = []
    first = threading.Thread(target=lambda: results.append(limit.take(limit.burst, stopped.is_set)), daemon=True)
    first.start()
    until(lambda: limit.waiting == 1)
    second = threading.Thread(target=lambda: results.append(limit.take(limit.burst, lambda: False)), daemon=True)
    second.start()
    until(lambda: limit.waiting == 2)
    stopped.set()
    first.join(20)
    assert results == [False]
    time.now += limit.burst * SECOND // RATE + 1  # one burst's worth of time: it is the second's
    second.join(20)
    assert results == [False, True]


def test_the_shared_limit_is_one_for_the_process() -> None:
    assert shared(12345678) is shared(12345678)
    assert shared(12345678).rate == 12345678


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


# -- writing --------------------------------------------------------------------------------------------------------------


def paced(inner: Store, time: Time, rate: int = RATE) -> Store:
    return PacedStore(inner, bandwidth(time, rate))


@pytest.mark.parametrize("fill", [write_all, drain_all])
def test_every_byte_is_paid_for(fill: Callable[[Writer, bytes], None]) -> None:
    """With two limits the smaller one counts."""
    clock, data = Time(), content(10 * RATE // 8)
    store = PacedStore(MemoryStore("mem"), bandwidth(clock), bandwidth(clock, 50 * RATE))

    async def scenario() -> Location:
        writer = await store.open_writer(IMAGE, len(data))
        fill(writer, data)
        await writer.flush(len(data))
        return await writer.commit(len(data), {})

    location = run(scenario())
    written = clock.now
    assert written * RATE >= (len(data) - RATE // 10) * SECOND
    assert read_all(store.open_reader(location)) == data
    assert (clock.now - written) * RATE >= (len(data) - RATE // 10) * SECOND


class Watched(StoreWrapper):
    """Keeps the lanes that its writers gave."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.lanes: list[Lane] = []

    def writer(self, image_id: str) -> Writer:
        return WatchedWriter(super().writer(image_id), self.lanes)


class WatchedWriter(WriterWrapper):
    def __init__(self, inner: Writer, lanes: list[Lane]) -> None:
        super().__init__(inner)
        self._lanes = lanes

    def attach(self, ring: Ring) -> Lane:
        self._lanes.append(super().attach(ring))
        return self._lanes[-1]


def test_a_native_lane_writes_natively_and_leaves_holes_which_cost_nothing(tmp_path: Path) -> None:
    time, size = Time(), 64 * SLOT
    watched = Watched(FileStore("files", tmp_path))
    store = paced(watched, time, 4096)

    async def scenario() -> Location:
        writer = await store.open_writer(IMAGE, size, thin=True)
        drain_all(writer, bytes(size))
        await writer.flush(size)
        return await writer.commit(size, {})

    run(scenario())
    assert isinstance(watched.lanes[0], WriteLane)
    assert (os.stat(tmp_path / IMAGE).st_size, os.stat(tmp_path / IMAGE).st_blocks) == (size, 0)
    assert time.now == 0


@pytest.mark.parametrize("end", ["detach", "fail"])
def test_a_drain_that_waits_for_its_pace_ends_when_nobody_wants_it_any_more(end: str) -> None:
    time, memory = Time(frozen=True), MemoryStore("mem")

    async def scenario() -> None:
        writer = await paced(memory, time).open_writer(IMAGE, None)
        ring = Ring(4, 1 << 17)
        drain = Drain(writer, ring)
        with ring.reserve() as view:  # more than a burst
            view[:] = b"x" * len(view)
        ring.publish(1 << 17)
        assert time.waits.wait(20)
        if end == "fail":
            ring.fail()
        else:
            drain._lane.detach()
        assert isinstance(drain.outcome(), LaneStopped)
        await writer.abort()

    run(scenario())
    assert (memory.objects, memory.pending) == ({}, {})


def test_the_position_is_ahead_by_the_two_slots_at_most() -> None:
    time = Time(frozen=True)
    watched = Watched(MemoryStore("mem"))
    store = PacedStore(watched, bandwidth(time, 1 << 30))
    release = threading.Event()

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        writer.inner.inner.write = lambda view: release.wait(20)  # type: ignore[attr-defined]
        ring = Ring(8, SLOT)
        drain = Drain(writer, ring)
        for _ in range(8):
            ring.reserve()[:] = b"x" * SLOT
            ring.publish(SLOT)
        until(lambda: drain._lane.position == SLOTS * SLOT)
        assert watched.lanes[0].position == 0
        release.set()
        ring.finish()
        assert drain.outcome() is None
        assert watched.lanes[0].position == drain._lane.position == 8 * SLOT
        await writer.abort()

    run(scenario())


def test_a_store_that_fails_ends_the_feeding() -> None:
    faulty = FaultyStore(MemoryStore("mem"), {"write:1": Fail(lambda: StoreFull("mem", "full"))})

    async def scenario() -> None:
        writer = await PacedStore(faulty, Bandwidth(1 << 30)).open_writer(IMAGE, None)
        ring = Ring(2, SLOT)
        drain = Drain(writer, ring)
        for _ in range(20):  # the ring is not held up by what has failed
            ring.reserve()[:] = b"x" * SLOT
            ring.publish(SLOT)
        assert isinstance(drain.outcome(), StoreFull)
        await writer.abort()

    run(scenario())


def test_an_abort_ends_a_write_that_waits_for_its_pace() -> None:
    time = Time(frozen=True)
    outcome: list[Exception] = []

    async def scenario() -> None:
        writer = await paced(MemoryStore("mem"), time).open_writer(IMAGE, None)

        def write() -> None:
            try:
                writer.write(memoryview(bytes(2 * RATE)))
            except StoreError as error:
                outcome.append(error)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        assert time.waits.wait(20)
        await writer.abort()
        thread.join(20)

    run(scenario())
    assert "has ended" in str(outcome[0])


# -- reading --------------------------------------------------------------------------------------------------------------


def test_a_paced_source_is_not_read_past_its_pace(tmp_path: Path) -> None:
    store = paced(FileStore("files", tmp_path), Time())
    source = store.open_reader(run(put(store, IMAGE, b"abc")))
    source.open()
    assert source.fileno() is None
    source.close()


def test_an_interrupt_ends_a_read_that_waits_for_its_pace() -> None:
    time, memory = Time(frozen=True), MemoryStore("mem")
    memory.objects[IMAGE] = bytes(2 * RATE)
    source = paced(memory, time).open_reader(memory.location(IMAGE))
    threading.Thread(target=lambda: time.waits.wait(20) and source.interrupt(), daemon=True).start()
    with pytest.raises(SourceError, match="interrupted"):
        read_all(source)
