"""One store that is slow, or hangs, beside others: what they feel of it is the shared pace, and that ends with a time limit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.fault import Hang
from faults.loop import run
from faults.source import FaultySource
from faults.store import FaultyStore
from stage import DATA, IMAGE, LIMITS, SLOT, Stage
from test_transfer_resources import MIB, NullStore, resident_peak

from glance_stream.chunker import Lane, Ring
from glance_stream.errors import ImportFailed, StoreTimeout
from glance_stream.retry import RetryPolicy
from glance_stream.sources.path import PathSource
from glance_stream.stores.base import Store, Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers.bandwidth import PacedStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.time_limits import TimeLimitedStore, TimeLimits
from glance_stream.stores.wrappers.token_bucket import SECOND, Bandwidth
from glance_stream.stores.wrappers.wrapper import StoreWrapper, WriterWrapper
from glance_stream.transfer import Limits, Transferred, TransferRequest, transfer

BEST_EFFORT = pytest.mark.parametrize("best_effort", [False, True])


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.0005)
    return true()


class Watched(StoreWrapper):
    """Its lane and its ring can be looked at. ``before_write``: is called at each write of a store without a native lane."""

    def __init__(self, inner: Store, before_write: Callable[[Lane], None] | None = None) -> None:
        super().__init__(inner)
        self.before_write = before_write
        self.lane: Lane | None = None
        self.ring: Ring | None = None

    def writer(self, image_id: str) -> Writer:
        return WatchedWriter(super().writer(image_id), self)


class WatchedWriter(WriterWrapper):
    def __init__(self, inner: Writer, store: Watched) -> None:
        super().__init__(inner)
        self._store = store

    def attach(self, ring: Ring) -> Lane:
        self._store.ring, self._store.lane = ring, super().attach(ring)
        return self._store.lane

    def write(self, view: memoryview) -> None:
        if self._store.before_write is not None:
            assert self._store.lane is not None
            self._store.before_write(self._store.lane)
        super().write(view)

    def drain(self, lane: Lane) -> None:
        if self._store.before_write is None:
            return super().drain(lane)
        return Writer.drain(self, lane)


class Schedule:
    """Fifty times slower than the others, or any number of times: a slot is written when they have nothing left to do.

    ``ahead``: the slots that they may be ahead of it.
    """

    def __init__(self, others: list[Watched], ahead: int, size: int) -> None:
        self.others = others
        self.ahead = ahead * SLOT
        self.size = size
        self.seen: list[tuple[int, list[int]]] = []

    def __call__(self, lane: Lane) -> None:
        """Every other store comes as far as the ring lets it, with this one standing still; and no further."""
        reach = min(self.size, lane.position + self.ahead)
        until(lambda: self.positions() == [reach] * len(self.others))
        self.seen.append((reach, self.positions()))

    def positions(self) -> list[int]:
        return [other.lane.position if other.lane is not None else -1 for other in self.others]

    def assert_kept(self, writes: int) -> None:
        assert len(self.seen) == writes
        assert self.seen == [(reach, [reach] * len(self.others)) for reach, _ in self.seen]


@BEST_EFFORT
@pytest.mark.parametrize("slots", [2, 5])
def test_a_slow_store_costs_the_others_nothing_but_the_shared_pace(tmp_path: Path, slots: int, best_effort: bool) -> None:
    """They are never further ahead than the ring is long, which is all the memory there is, and never wait for less."""
    memory, files, slow_memory = MemoryStore("memory"), FileStore("files", tmp_path), MemoryStore("slow")
    others = [Watched(memory), Watched(files)]
    schedule = Schedule(others, slots, len(DATA))
    stores = [*others, Watched(slow_memory, schedule)]
    limits = Limits(slots=slots, slot_size=SLOT, store_timeout=20, source_timeout=20)
    outcome = run(transfer(TransferRequest(IMAGE, FaultySource(DATA), stores, best_effort=best_effort, limits=limits)))
    assert set(outcome.locations) == {"memory", "files", "slow"}
    assert (outcome.failures, outcome.leftovers) == ({}, ())
    schedule.assert_kept(writes=6)
    assert memory.objects[IMAGE] == slow_memory.objects[IMAGE] == (tmp_path / IMAGE).read_bytes() == DATA


def test_a_store_below_its_bandwidth_limit_lets_the_others_run_the_rings_length_ahead() -> None:
    """Its bandwidth lets a slot go when the others have nothing left to do."""
    memory = [MemoryStore(f"s{number}") for number in range(3)]
    others = [Watched(memory[0]), Watched(memory[1])]
    now = 0

    def wait(condition: threading.Condition, seconds: float) -> None:
        nonlocal now
        lane = slow.lane
        assert lane is not None
        reach = min(len(DATA), lane.position + LIMITS.slots * SLOT)
        assert until(lambda: all(other.lane is not None and other.lane.position == reach for other in others))
        now += max(1, round(seconds * SECOND))
        waits.append(reach)

    waits: list[int] = []
    slow = Watched(PacedStore(memory[2], Bandwidth(4096, clock=lambda: now, wait=wait)))
    outcome = run(transfer(TransferRequest(IMAGE, FaultySource(DATA), [*others, slow], limits=LIMITS)))
    assert outcome.failures == {}
    assert len(set(waits)) >= 4  # at the slots behind the first burst, but for the last ones, where nothing is left
    assert now * 4096 >= (len(DATA) - 4096) * SECOND
    assert [store.objects for store in memory] == [{IMAGE: DATA}] * 3


# -- hanging --------------------------------------------------------------------------------------------------------------

SHORT = TimeLimits(open=0.3, call=0.3, progress=0.3)


def limited(store: Store) -> Store:
    return TimeLimitedStore(store, SHORT)


def fully_wrapped(store: Store) -> Store:
    return PacedStore(RetryingStore(limited(store), RetryPolicy(tries=2, base=0)), Bandwidth(1 << 30))


@BEST_EFFORT
@pytest.mark.parametrize("wrap", [limited, fully_wrapped])
@pytest.mark.parametrize(
    "step", ["open", "opened", "write:0", "write:2", "drained"]
)  # a flush and a commit have the engine's limit
def test_a_store_that_hangs_fails_in_its_own_time_limit(
    stage: Stage, step: str, wrap: Callable[[Store], Store], best_effort: bool
) -> None:
    """The engine's own would be far longer."""
    hang = Hang()
    stage.script(1, {step: hang})
    stores = [stage.stores[0], wrap(stage.stores[1]), stage.stores[2]]
    patient = Limits(slots=2, slot_size=SLOT, store_timeout=1000, source_timeout=1000, undo_timeout=2)

    async def scenario() -> Transferred | ImportFailed:
        try:
            return await stage.transfer(FaultySource(DATA), stores=stores, best_effort=best_effort, limits=patient)
        except ImportFailed as error:
            return error
        finally:
            hang.release()

    outcome = run(scenario())
    assert isinstance(outcome, Transferred if best_effort else ImportFailed)
    assert isinstance(outcome.failures["s1"], StoreTimeout)
    assert set(outcome.failures) == {"s1"}
    assert "0.3 s" in str(outcome.failures["s1"])
    assert outcome.leftovers == ()
    stage.assert_only(*(["s0", "s2"] if best_effort else []))


@BEST_EFFORT
def test_a_native_lane_that_hangs_fails_in_its_time_limit(tmp_path: Path, stage: Stage, best_effort: bool) -> None:
    files, hang = FileStore("files", tmp_path), Hang()
    stuck = limited(FaultyStore(files, {"drained": hang}))  # natively written, and then no end
    patient = Limits(slots=2, slot_size=SLOT, store_timeout=1000, source_timeout=1000, undo_timeout=2)

    async def scenario() -> Transferred | ImportFailed:
        try:
            request = stage.transfer(FaultySource(DATA), stores=[*stage.stores, stuck], best_effort=best_effort, limits=patient)
            return await request
        except ImportFailed as error:
            return error
        finally:
            hang.release()

    outcome = run(scenario())
    assert isinstance(outcome.failures["files"], StoreTimeout)
    assert list(tmp_path.iterdir()) == []
    stage.assert_only(*(["s0", "s1", "s2"] if best_effort else []))


# -- memory ---------------------------------------------------------------------------------------------------------------


def test_memory_stays_flat_beside_a_slow_store(tmp_path: Path) -> None:
    """Four slots for all and two for the paced store, whatever the image's size."""
    image, size = tmp_path / "image", 128 * MIB
    image.touch()
    os.truncate(image, size)
    now = 0

    def wait(condition: threading.Condition, seconds: float) -> None:
        nonlocal now
        now += max(1, round(seconds * SECOND))

    slow = PacedStore(limited(NullStore("slow")), Bandwidth(MIB, clock=lambda: now, wait=wait))
    stores = [NullStore("null0"), NullStore("null1"), slow]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_peak()
    outcome = run(transfer(TransferRequest("image", PathSource(image), stores, limits=Limits(slots=4, slot_size=MIB))))
    assert outcome.verified.size == size
    assert now > 120 * SECOND
    assert resident_peak() - before < 24 * MIB
