"""A transfer that takes over what a dead one has left: the same bytes whatever that is, and nothing left when it fails."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from faults.fault import Fail
from faults.loop import run
from faults.recorder import FaultyRecorder
from faults.source import FaultySource
from faults.store import STEPS
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import DATA, IMAGE, LIMITS, SLOT, Stage

from glance_stream.errors import GlanceStreamError, ImportFailed, SourceError, StoreUnavailable
from glance_stream.stores.base import Store
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer import TransferRequest, transfer


def die_after(store: Store, written: bytes) -> str:
    """The trace of a writer that nobody will end any more."""
    if isinstance(store, FileStore):
        trace = store.writer(IMAGE).trace
        store.path.mkdir()
        Path(trace.removeprefix("file://")).write_bytes(written)
        return trace
    writer = run(store.open_writer(IMAGE, None))
    writer.write(memoryview(written))
    return writer.trace


def left_everywhere(stage: Stage, written: bytes) -> dict[str, str]:
    return {store.store_id: die_after(store, written) for store in stage.memory}


def right_slots(held: bytes, data: bytes = DATA) -> int:
    pieces = [(at, data[at : at + SLOT]) for at in range(0, len(data), SLOT)]
    return sum(len(piece) for at, piece in pieces if held[at : at + SLOT][: len(piece)] == piece)


def test_all_stores_go_on(stage: Stage) -> None:
    traces = left_everywhere(stage, DATA[: 3 * SLOT])
    done = run(stage.transfer(FaultySource(DATA), resume=traces))
    stage.assert_only("s0", "s1", "s2")
    assert done.kept == dict.fromkeys(traces, 3 * SLOT)
    assert stage.recorder.traces == traces
    assert [note for note in done.notes if "continued an interrupted transfer" in note] == list(done.notes)


def test_one_goes_on_and_the_others_begin(stage: Stage) -> None:
    trace = die_after(stage.memory[1], DATA[:SLOT] + b"wrong")
    done = run(stage.transfer(FaultySource(DATA), resume={"s1": trace}))
    stage.assert_only("s0", "s1", "s2")
    assert done.kept == {"s1": SLOT}
    assert stage.recorder.traces["s1"] == trace


def test_what_is_gone_is_begun_anew(stage: Stage) -> None:
    traces = left_everywhere(stage, DATA)
    run(stage.memory[0].discard(traces["s0"]))
    done = run(stage.transfer(FaultySource(DATA), resume=traces))
    stage.assert_only("s0", "s1", "s2")
    assert set(done.kept) == {"s1", "s2"}
    assert stage.recorder.traces["s0"] != traces["s0"]


def test_a_store_that_can_not_go_on_begins_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose type was changed, or of which another's trace is given."""
    traces = left_everywhere(stage, DATA)
    monkeypatch.setattr(MemoryStore, "resume", Store.resume)
    done = run(stage.transfer(FaultySource(DATA), resume=traces))
    stage.assert_only("s0", "s1", "s2")
    assert done.kept == {}


@pytest.mark.parametrize("best_effort", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_failure_leaves_nothing_of_it(stage: Stage, step: str, best_effort: bool) -> None:
    traces = left_everywhere(stage, DATA[: 2 * SLOT])
    stage.script(1, {step: Fail(lambda: StoreUnavailable("s1", "broken"))})
    if best_effort:
        done = run(stage.transfer(FaultySource(DATA), resume=traces, best_effort=True))
        stage.assert_only("s0", "s2")
        assert set(done.kept) == {"s0", "s2"}
    else:
        with pytest.raises(ImportFailed):
            run(stage.transfer(FaultySource(DATA), resume=traces))
        stage.assert_only()
    assert stage.recorder.leftovers == ()


@pytest.mark.parametrize("source", [{"fails_at": 0}, {"fails_at": 3 * SLOT}, {"announced": 1}, {"changes": True}])
def test_a_source_that_fails_leaves_nothing_of_it(stage: Stage, source: dict[str, int]) -> None:
    """Also before any store was opened."""
    traces = left_everywhere(stage, DATA[: 2 * SLOT])
    with pytest.raises(SourceError):
        run(stage.transfer(FaultySource(DATA, **source), resume=traces))
    stage.assert_only()


@pytest.mark.parametrize("step", ["opened", "opened:s1"])
def test_a_record_that_fails_leaves_nothing_of_it(stage: Stage, step: str) -> None:
    traces = left_everywhere(stage, DATA[: 2 * SLOT])
    stage.recorder.script[step] = Fail(lambda: GlanceStreamError("the catalogue is gone"))
    with pytest.raises(GlanceStreamError, match="catalogue"):
        run(stage.transfer(FaultySource(DATA), resume=traces))
    stage.assert_only()


def test_what_can_not_be_removed_is_told(stage: Stage) -> None:
    traces = left_everywhere(stage, DATA[: 2 * SLOT])
    stage.script(1, {"discard": Fail(lambda: StoreUnavailable("s1", "gone away"))})
    with pytest.raises(SourceError) as caught:
        run(stage.transfer(FaultySource(DATA, fails_at=0), resume=traces))
    assert [(left.store_id, left.trace) for left in caught.value.leftovers] == [("s1", traces["s1"])]


@settings(max_examples=80, deadline=None)
@given(
    cuts=st.tuples(*[st.integers(0, len(DATA) + SLOT)] * 2),
    damage=st.lists(st.tuples(st.integers(0, 1), st.integers(0, len(DATA)), st.integers(1, 2 * SLOT), st.booleans()), max_size=4),
    thin=st.booleans(),
)
def test_the_same_bytes_whatever_was_left(cuts: tuple[int, int], damage: list[tuple[int, int, int, bool]], thin: bool) -> None:
    """In two file stores, each cut and damaged in its own way: what is kept is just what is right."""
    held = [bytearray((DATA + bytes(SLOT))[:cut]) for cut in cuts]
    for which, at, length, zeros in damage:
        run_of = min(length, max(0, len(held[which]) - at))
        held[which][at : at + run_of] = bytes(run_of) if zeros else random.Random(at).randbytes(run_of)
    with tempfile.TemporaryDirectory() as place:
        stores = [FileStore(f"f{number}", Path(place) / str(number)) for number in range(2)]
        traces = {store.store_id: die_after(store, bytes(left)) for store, left in zip(stores, held, strict=True)}
        request = TransferRequest(IMAGE, FaultySource(DATA), stores, thin=thin, resume=traces, limits=LIMITS)
        done = run(transfer(request, FaultyRecorder()))
        for store, left in zip(stores, held, strict=True):
            (stored,) = store.path.iterdir()
            assert stored.read_bytes() == DATA
            assert done.kept[store.store_id] == right_slots(bytes(left))
