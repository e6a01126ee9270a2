"""Any number of lanes, each at its own pace, some of them leaving: who stays sees the stream, whole and in order."""

from __future__ import annotations

import hashlib
import random
import time

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

pytestmark = pytest.mark.timeout(60)

STREAM = random.Random(13).randbytes(40 * 4096)


class Reader:
    """Reads a lane at an uneven pace, and leaves when it has let ``leaves_after`` slots go."""

    def __init__(self, lane, seed: int, leaves_after: int | None) -> None:
        self.lane = lane
        self.pace = random.Random(seed)
        self.leaves_after = leaves_after
        self.seen = bytearray()

    def run(self) -> None:
        for number, slot in enumerate(self.lane):
            if number == self.leaves_after:
                self.lane.detach()
                return
            time.sleep(self.pace.choice([0, 0, 0, 0, 0.0001, 0.001]))
            self.seen += slot.view


readers = st.tuples(st.integers(0, 2**16), st.none() | st.integers(0, 12))


@settings(max_examples=40, deadline=None)
@given(
    plan=st.lists(readers, min_size=1, max_size=5),
    slots=st.integers(2, 4),
    size=st.integers(1, len(STREAM)),
    ending=st.sampled_from(["finish", "fail"]),
)
def test_survivors_see_exactly_the_stream(core, start, plan, slots: int, size: int, ending: str) -> None:
    ring = core.Ring(slots, core.PAGE_SIZE)
    crew = [Reader(ring.lane(), *one) for one in plan]
    digest = core.DigestLane(ring, "sha256")
    calls = [start(reader.run) for reader in crew]
    run = start(digest.run)

    def produce() -> None:
        for at in range(0, size, ring.slot_size):
            part = STREAM[at : min(at + ring.slot_size, size)]
            ring.reserve()[: len(part)] = part
            ring.publish(len(part))
        getattr(ring, ending)()

    start(produce).result()
    if ending == "finish":
        run.result()
        assert digest.hexdigest() == hashlib.sha256(STREAM[:size]).hexdigest()
    for reader, call in zip(crew, calls, strict=True):
        try:
            call.result()
        except core.LaneStopped:
            assert ending == "fail"
            assert STREAM[:size].startswith(reader.seen)
        else:
            expected = size if not reader.lane.detached else reader.leaves_after * ring.slot_size
            assert reader.seen == STREAM[:expected]
    run.thread.join(5)


@settings(max_examples=20, deadline=None)
@given(delays=st.lists(st.sampled_from([0.0, 0.0005, 0.002, 0.005]), min_size=1, max_size=4))
def test_detach_at_any_moment(core, start, delays) -> None:
    """From outside, while the lane's own thread hashes or waits; one lane is never detached."""
    ring = core.Ring(2, core.PAGE_SIZE)
    stays = core.DigestLane(ring, "sha256")
    leave = [core.DigestLane(ring, "sha256") for _ in delays]
    runs = [start(lane.run) for lane in leave]
    last = start(stays.run)

    def detach() -> None:
        for delay, lane in zip(delays, leave, strict=True):
            time.sleep(delay)
            lane.detach()

    def produce() -> None:
        for at in range(0, len(STREAM), ring.slot_size):
            ring.reserve()[:] = STREAM[at : at + ring.slot_size]
            ring.publish(ring.slot_size)
        ring.finish()

    calls = start(detach), start(produce)
    for call in (*calls, last):
        call.result()
    expected = hashlib.sha256(STREAM).hexdigest()
    assert stays.hexdigest() == expected
    for lane, run in zip(leave, runs, strict=True):
        run.thread.join(5)
        if run.error is None:
            assert lane.hexdigest() == expected  # it was through before it was told to leave
        else:
            assert isinstance(run.error, core.LaneStopped)


class RingMachine(RuleBasedStateMachine):
    """One thread does everything that can't wait, in any order, against a model made of a list of slots."""

    core = None  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.ring = self.core.Ring(3, self.core.PAGE_SIZE)
        self.lanes = [self.ring.lane() for _ in range(3)]
        self.cursors = [0, 0, 0]
        self.held = [None, None, None]
        self.gone = [False, False, False]
        self.slots: list[bytes] = []
        self.state = "open"

    def room(self) -> bool:
        short = bool(self.slots) and len(self.slots[-1]) < self.ring.slot_size
        behind = [cursor for cursor, gone in zip(self.cursors, self.gone, strict=True) if not gone]
        return self.state == "open" and not short and all(len(self.slots) - cursor < 3 for cursor in behind)

    @precondition(room)
    @rule(fill=st.integers(0, 255), short=st.sampled_from([0, 0, 0, 0, 1, 4000]))
    def publish(self, fill: int, short: int) -> None:
        content = bytes([fill]) * (self.ring.slot_size - short)
        self.ring.reserve()[: len(content)] = content
        self.ring.publish(len(content))
        self.slots.append(content)

    @rule(n=st.integers(0, 2))
    def take(self, n: int) -> None:
        if self.held[n] is not None:
            with pytest.raises(ValueError, match="take"):
                self.lanes[n].take()
        elif self.state == "failed" or self.gone[n]:
            with pytest.raises(self.core.LaneStopped):
                self.lanes[n].take()
        elif self.cursors[n] < len(self.slots):
            slot = self.held[n] = self.lanes[n].take()
            assert slot.offset == sum(map(len, self.slots[: self.cursors[n]]))
            self.check(n)
        elif self.state == "finished":
            assert self.lanes[n].take() is None

    def check(self, n: int) -> None:
        expected = self.slots[self.cursors[n]]
        assert self.held[n].view == expected
        assert self.held[n].zero is not any(expected)
        assert self.held[n].fingerprint == xxhash.xxh3_128_digest(expected)

    @rule(n=st.integers(0, 2))
    def release(self, n: int) -> None:
        if self.held[n] is None:
            with pytest.raises(ValueError, match="release"):
                self.lanes[n].release()
            return
        if not self.gone[n]:
            self.check(n)  # nobody wrote over it meanwhile
        self.lanes[n].release()
        self.held[n] = None
        self.cursors[n] += 1

    @rule(n=st.integers(0, 2))
    def detach(self, n: int) -> None:
        self.lanes[n].detach()
        self.gone[n] = True

    @rule(how=st.sampled_from(["finish", "finish", "fail"]))
    def end(self, how: str) -> None:
        getattr(self.ring, how)()
        self.state = "failed" if how == "fail" or self.state == "failed" else "finished"

    @invariant()
    def facts(self) -> None:
        assert self.ring.produced == sum(map(len, self.slots))
        assert (self.ring.failed, self.ring.finished) == (self.state == "failed", self.state == "finished")
        assert self.ring.fingerprints() == b"".join(map(xxhash.xxh3_128_digest, self.slots))
        for lane, cursor, gone in zip(self.lanes, self.cursors, self.gone, strict=True):
            assert lane.detached is gone
            assert lane.position == sum(map(len, self.slots[:cursor]))


def test_any_order_of_calls(core) -> None:
    machine = type("Machine", (RingMachine,), {"core": core})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
