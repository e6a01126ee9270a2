"""When another try is made, and after how long: no clock but one that the waits themselves move."""

from __future__ import annotations

import threading

import pytest
from faults.loop import run
from hypothesis import given
from hypothesis import strategies as st

from glance_stream.errors import (
    GlanceStreamError,
    NotFound,
    ObjectBusy,
    SourceError,
    SourceNotFound,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.retry import RetryPolicy, backoff, may_pass
from glance_stream.sources.http_limits import HttpLimits

DOWN = StoreUnavailable("s", "down")


class Time:
    """A clock, and the waits that move it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float, stopped: threading.Event | None = None) -> None:
        self.waits.append(seconds)
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.pause(seconds)


def policy(time: Time, **fields: object) -> RetryPolicy:
    """Waits the whole step where there is a choice."""
    given_ = {"uniform": lambda low, high: high, **fields}
    return RetryPolicy(clock=time.clock, pause=time.pause, sleep=time.sleep, **given_)  # type: ignore[arg-type]


class Call:
    """Fails with each of the errors in turn and then gives 'done'."""

    def __init__(self, *errors: GlanceStreamError) -> None:
        self.errors = list(errors)
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def later(self) -> str:
        return self()


def outcome(kind: str, policy: RetryPolicy, call: Call) -> str:
    return policy.run(call) if kind == "blocking" else run(policy.run_async(call.later))


BOTH = pytest.mark.parametrize("kind", ["blocking", "async"])


@BOTH
def test_what_passes_is_tried_again_with_growing_waits(kind: str) -> None:
    time, call = Time(), Call(*[DOWN] * 4)
    assert outcome(kind, policy(time, tries=5, base=1, cap=3), call) == "done"
    assert time.waits == [1, 2, 3, 3]


@BOTH
def test_tries_are_counted(kind: str) -> None:
    time, call = Time(), Call(*[DOWN] * 9)
    with pytest.raises(StoreUnavailable):
        outcome(kind, policy(time, tries=3), call)
    assert call.count == 3


@BOTH
@pytest.mark.parametrize("error", [NotFound("s", "x"), StoreFull("s", "x"), StoreError("s", "x"), SourceNotFound("x")])
def test_what_does_not_pass_is_told_at_once(kind: str, error: GlanceStreamError) -> None:
    time, call = Time(), Call(error)
    with pytest.raises(type(error)):
        outcome(kind, policy(time), call)
    assert (call.count, time.waits) == (1, [])


def test_what_may_pass() -> None:
    assert all(may_pass(error) for error in (DOWN, StoreTimeout("s", "x"), SourceError("x")))
    assert not any(may_pass(error) for error in (ObjectBusy("s", "x"), StoreError("s", "x"), OSError("x")))
    cured = StoreUnavailable("s", "x")
    cured.retryable = False  # an error may know better than its class
    assert not may_pass(cured)


@BOTH
def test_a_store_that_asks_for_time_gets_it(kind: str) -> None:
    time, call = Time(), Call(StoreUnavailable("s", "slow down", retry_after=7.0))
    assert outcome(kind, policy(time, base=1), call) == "done"
    assert time.waits == [8]


@BOTH
def test_a_wait_ends_with_the_budget_and_one_last_try(kind: str) -> None:
    time, call = Time(), Call(*[StoreUnavailable("s", "come tomorrow", retry_after=86400.0)] * 9)
    with pytest.raises(StoreUnavailable):
        outcome(kind, policy(time, tries=9, budget=10), call)
    assert (call.count, time.waits) == (2, [10])


def test_the_budget_counts_the_time_that_failing_takes() -> None:
    time = Time()

    def call() -> None:
        time.now += 6
        raise DOWN

    with pytest.raises(StoreUnavailable):
        policy(time, tries=100, base=1, cap=1, budget=10).run(call)
    assert time.waits == [1, 1]  # failed at 6, 13 and 20: the first at 6 gives until 16


def test_who_is_stopped_tries_no_more() -> None:
    call, stopped = Call(DOWN, DOWN), threading.Event()
    patient = RetryPolicy(base=1000, cap=1000, budget=1000, uniform=lambda low, high: high)
    waker = threading.Timer(0.05, stopped.set)
    waker.start()
    with pytest.raises(StoreUnavailable):
        patient.run(call, stopped)
    with pytest.raises(StoreUnavailable):
        patient.run(call, stopped)
    waker.join()
    assert call.count == 2


@given(
    failures=st.integers(1, 10_000),
    base=st.floats(0, 1e6),
    cap=st.floats(0, 1e6),
    retry_after=st.none() | st.floats(-1e6, 1e6),
)
def test_full_jitter(failures: int, base: float, cap: float, retry_after: float | None) -> None:
    """Anything between nothing and a step that doubles up to the cap, beyond what the server asks for."""
    least = max(0.0, retry_after or 0.0)
    assert backoff(failures, base, cap, retry_after, lambda low, high: low) == least
    step = backoff(failures, base, cap, retry_after, lambda low, high: high) - least
    assert step == pytest.approx(min(cap, base * 2 ** min(failures - 1, 30)), abs=1e-6)


@given(waits=st.lists(st.floats(0, 1), min_size=20, max_size=20), budget=st.floats(0.1, 100), asked=st.none() | st.floats(0, 50))
def test_all_waits_together_keep_to_the_budget(waits: list[float], budget: float, asked: float | None) -> None:
    time, left = Time(), list(waits)
    drawn = policy(time, tries=20, budget=budget, uniform=lambda low, high: high * left.pop())
    with pytest.raises(StoreUnavailable):
        drawn.run(Call(*[StoreUnavailable("s", "down", retry_after=asked)] * 20))
    assert sum(time.waits) <= budget + 1e-6


def test_http_sources_wait_by_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = HttpLimits(backoff_seconds=0, retry_after_most_seconds=7)
    assert (limits.delay(3, None), limits.delay(3, 5.0), limits.delay(3, 500.0)) == (0, 5, 7)
