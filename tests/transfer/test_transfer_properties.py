"""Whatever goes wrong wherever: the outcome says what the stores hold, and nothing else is in them."""

from __future__ import annotations

import random

from faults.fault import Fail, Fault, Slow
from faults.loop import run
from faults.recorder import FaultyRecorder
from faults.source import FaultySource
from faults.store import STEPS, UNDO_STEPS
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import IMAGE, Stage

from glance_stream.errors import GlanceStreamError, StoreDenied, StoreFull, StoreUnavailable
from glance_stream.transfer import Limits, Transferred

FAULTS = st.one_of(
    st.sampled_from([StoreFull, StoreUnavailable, StoreDenied]).map(lambda kind: Fail(lambda: kind("sX", "injected"))),
    st.just(Fail(lambda: RuntimeError("bug"))),
    st.just(Slow(0.003)),
)
STORE_SCRIPTS = st.dictionaries(st.sampled_from((*STEPS, *UNDO_STEPS)), FAULTS, max_size=3)
RECORDER_SCRIPTS = st.dictionaries(
    st.sampled_from(["opened:s0", "verified", "committed:s0", "committed:s1", "finished", "rolled_back"]), FAULTS, max_size=1
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 60_000),
    slot_size=st.sampled_from([4096, 8192, 65536]),
    scripts=st.lists(st.one_of(st.just({}), STORE_SCRIPTS), min_size=1, max_size=4),
    recorder=st.one_of(st.just({}), RECORDER_SCRIPTS),
    best_effort=st.booleans(),
    thin=st.booleans(),
    breaks=st.one_of(st.none(), st.integers(0, 60_000)),
)
def test_outcome_and_stores_agree(
    size: int,
    slot_size: int,
    scripts: list[dict[str, Fault]],
    recorder: dict[str, Fault],
    best_effort: bool,
    thin: bool,
    breaks: int | None,
) -> None:
    data = random.Random(size).randbytes(size)
    stage = Stage(len(scripts))
    for number, script in enumerate(scripts):
        stage.script(number, script)
    stage.recorder = FaultyRecorder(recorder)
    source = FaultySource(data, fails_at=breaks)
    limits = Limits(slots=2, slot_size=slot_size, store_timeout=5, undo_timeout=5)
    outcome: Transferred | Exception
    try:
        outcome = run(stage.transfer(source, limits=limits, best_effort=best_effort, thin=thin))
    except Exception as error:
        outcome = error
    assert source.closed
    check(stage, outcome, data, best_effort)


def check(stage: Stage, outcome: Transferred | Exception, data: bytes, best_effort: bool) -> None:
    holding = {store.store_id for store in stage.memory if store.objects}
    pending = {store.store_id for store in stage.memory if store.pending}
    assert all(store.objects in ({}, {IMAGE: data}) for store in stage.memory)  # a whole image or none
    if isinstance(outcome, Transferred):
        wanted, leftovers = set(outcome.locations), outcome.leftovers
        assert wanted
        assert wanted.isdisjoint(outcome.failures)
        assert wanted | set(outcome.failures) == {store.store_id for store in stage.memory}
        assert best_effort or not outcome.failures
        assert "rolled_back" not in stage.recorder.events
        assert set(stage.recorder.locations) == wanted
    else:
        assert isinstance(outcome, GlanceStreamError | RuntimeError)
        wanted = set(stage.recorder.locations) if best_effort else set()
        leftovers = stage.recorder.leftovers if "rolled_back" in stage.recorder.events else getattr(outcome, "leftovers", None)
        assert "finished" not in stage.recorder.events
    assert wanted <= holding
    if leftovers is not None:  # whatever else is there has been named
        named = {left.store_id for left in leftovers}
        assert (holding - wanted) | pending <= named
