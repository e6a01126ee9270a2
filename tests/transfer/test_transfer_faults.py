"""Every step of every store, going wrong: all or nothing, or the others without it."""

from __future__ import annotations

import asyncio

import pytest
from faults.fault import Fail, Slow
from faults.loop import run
from faults.source import FaultySource
from faults.store import STEPS
from stage import DATA, IMAGE, SLOT, Stage

from glance_stream.errors import Duplicate, GlanceStreamError, ImportFailed, SourceError, StoreError, StoreFull, StoreUnavailable
from glance_stream.transfer import TransferRequest, transfer

NAMES = ("s0", "s1", "s2")
POSITIONS = pytest.mark.parametrize("position", range(3))
EACH_STEP = pytest.mark.parametrize("step", STEPS)


def full() -> StoreFull:
    return StoreFull("sX", "no space left")


def down() -> StoreUnavailable:
    return StoreUnavailable("sX", "connection refused")


@EACH_STEP
@POSITIONS
def test_all_must_succeed(stage: Stage, step: str, position: int) -> None:
    stage.script(position, {step: Fail(full)})
    source = FaultySource(DATA)
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(source))
    stage.assert_only()
    assert source.closed
    assert caught.value.leftovers == ()
    assert list(caught.value.failures) == [NAMES[position]]
    assert isinstance(caught.value.failures[NAMES[position]], StoreFull)
    assert stage.recorder.failures == caught.value.failures
    assert stage.recorder.leftovers == ()
    assert stage.recorder.events.count("rolled_back") == 1
    assert "finished" not in stage.recorder.events


@EACH_STEP
@POSITIONS
def test_best_effort(stage: Stage, step: str, position: int) -> None:
    stage.script(position, {step: Fail(full)})
    done = run(stage.transfer(FaultySource(DATA), best_effort=True))
    others = set(NAMES) - {NAMES[position]}
    stage.assert_only(*others)
    assert set(done.locations) == others
    assert list(done.failures) == [NAMES[position]]
    assert isinstance(done.failures[NAMES[position]], StoreFull)
    assert done.leftovers == ()
    assert set(stage.recorder.locations) == others
    assert stage.recorder.events[-1] == "finished"
    assert "rolled_back" not in stage.recorder.events


@EACH_STEP
def test_best_effort_with_no_store_left(stage: Stage, step: str) -> None:
    for position in range(3):
        stage.script(position, {step: Fail(full)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA), best_effort=True))
    stage.assert_only()
    assert set(caught.value.failures) == set(NAMES)
    assert stage.recorder.events[-1] == "rolled_back"


@EACH_STEP
@pytest.mark.parametrize("best_effort", [False, True])
def test_a_bug_in_a_driver_is_that_stores_failure(stage: Stage, step: str, best_effort: bool) -> None:
    stage.script(1, {step: Fail(lambda: RuntimeError("bug"))})
    if best_effort:
        failures = run(stage.transfer(FaultySource(DATA), best_effort=True)).failures
        stage.assert_only("s0", "s2")
    else:
        with pytest.raises(ImportFailed) as caught:
            run(stage.transfer(FaultySource(DATA)))
        failures = caught.value.failures
        stage.assert_only()
    assert isinstance(failures["s1"], StoreError)
    assert str(failures["s1"]) == "store 's1': RuntimeError: bug"


@EACH_STEP
def test_a_timeout_of_the_stores_own_is_told_as_such(stage: Stage, step: str) -> None:
    stage.script(1, {step: Fail(lambda: TimeoutError("of the driver"))})
    done = run(stage.transfer(FaultySource(DATA), best_effort=True))
    assert str(done.failures["s1"]) == "store 's1': TimeoutError: of the driver"


def test_slow_stores_set_the_pace(stage: Stage) -> None:
    stage.script(0, {"open": Slow(0.1), "write:1": Slow(0.1), "commit-before": Slow(0.1)})
    stage.script(2, {"write:3": Slow(0.1), "flush": Slow(0.1)})
    run(stage.transfer(FaultySource(DATA)))
    stage.assert_only(*NAMES)


def test_a_driver_that_stops_reading_early_fails_and_holds_up_nobody(stage: Stage) -> None:
    class Lazy(type(stage.stores[0])):  # type: ignore[misc]
        def writer(self, image_id: str) -> object:
            writer = super().writer(image_id)
            writer.drain = lambda lane: lane.take() and lane.release()
            return writer

    lazy = Lazy(stage.memory[1])
    done = run(stage.transfer(FaultySource(DATA), stores=[stage.stores[0], lazy], best_effort=True))
    assert list(done.failures) == ["s1"]
    stage.assert_only("s0")


# -- names that are taken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("best_effort", [False, True])
def test_an_object_that_was_there_is_left_alone(stage: Stage, best_effort: bool) -> None:
    stage.memory[1].objects[IMAGE] = b"another's"
    if best_effort:
        done = run(stage.transfer(FaultySource(DATA), best_effort=True))
        assert isinstance(done.failures["s1"], Duplicate)
    else:
        with pytest.raises(ImportFailed):
            run(stage.transfer(FaultySource(DATA)))
    assert stage.memory[1].objects.pop(IMAGE) == b"another's"
    stage.assert_only(*(["s0", "s2"] if best_effort else []))


def test_an_object_that_came_meanwhile_is_left_alone(stage: Stage) -> None:
    theirs = b"another's"

    class Theirs(Slow):
        async def strike(self) -> None:
            stage.memory[1].objects[IMAGE] = theirs

    stage.script(1, {"commit-before": Theirs(0)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert isinstance(caught.value.failures["s1"], Duplicate)
    assert stage.memory[1].objects.pop(IMAGE) == theirs
    stage.assert_only()


@pytest.mark.parametrize("theirs", [pytest.param(b"another's", id="another image"), pytest.param(DATA, id="the very same bytes")])
def test_what_another_has_put_there_is_not_ours(stage: Stage, theirs: bytes) -> None:
    """The commit failed with something else than Duplicate, as where Glance or another site imports the same image."""

    class Theirs(Fail):
        async def strike(self) -> None:
            stage.memory[1].objects[IMAGE] = theirs
            await super().strike()

    stage.script(1, {"commit-before": Theirs(down)})
    with pytest.raises(ImportFailed):
        run(stage.transfer(FaultySource(DATA)))
    assert stage.memory[1].objects.pop(IMAGE) == theirs
    stage.assert_only()


# -- undoing that fails too -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write:2", "flush", "commit-before"])
@pytest.mark.parametrize("best_effort", [False, True])
def test_what_can_not_be_removed_is_named(stage: Stage, step: str, best_effort: bool) -> None:
    stage.script(1, {step: Fail(full), "abort": Fail(down)})
    if best_effort:
        done = run(stage.transfer(FaultySource(DATA), best_effort=True))
        leftovers, reason = done.leftovers, done.failures["s1"]
    else:
        with pytest.raises(ImportFailed) as caught:
            run(stage.transfer(FaultySource(DATA)))
        leftovers, reason = caught.value.leftovers, caught.value.failures["s1"]
        assert stage.recorder.leftovers == leftovers
    assert isinstance(reason, StoreFull)  # the first cause, not the abort's
    assert [(left.store_id, left.trace) for left in leftovers] == [("s1", stage.recorder.traces["s1"])]
    run(stage.stores[1].discard(leftovers[0].trace))
    stage.assert_only(*(["s0", "s2"] if best_effort else []))


@pytest.mark.parametrize("step", ["flush", "commit-before"])
def test_a_stores_failing_abort_does_not_keep_the_others_from_being_cleaned(stage: Stage, step: str) -> None:
    for position in range(3):
        stage.script(position, {"abort": Fail(lambda: RuntimeError("bug"))} if position != 1 else {step: Fail(full)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert stage.memory[1].pending == {}
    assert {left.store_id for left in caught.value.leftovers} <= {"s0", "s2"}
    for left in caught.value.leftovers:
        run(stage.stores[int(left.store_id[1])].discard(left.trace))
    for store in stage.memory:
        assert store.pending == {}


def test_a_committed_object_that_can_not_be_deleted_is_named_by_its_location(stage: Stage) -> None:
    """By the writer's trace nobody would find it: the object is no trace any more."""
    stage.recorder.script["finished"] = Fail(lambda: SourceError("refused"))
    stage.script(1, {"delete": Fail(down)})
    with pytest.raises(SourceError) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert [left.trace for left in caught.value.leftovers] == [stage.recorder.locations["s1"].url]
    stage.assert_only("s1")


def test_an_object_of_a_failed_commit_that_can_not_be_deleted_is_named_by_its_location(stage: Stage) -> None:
    stage.script(1, {"commit-after": Fail(down), "delete": Fail(down)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert [left.trace for left in caught.value.leftovers] == [f"memory://s1/{IMAGE}"]
    stage.assert_only("s1")


def test_an_object_and_a_temporary_one_that_can_not_be_removed_are_both_named(stage: Stage) -> None:
    stage.script(1, {"commit-after": Fail(down), "abort": Fail(down), "delete": Fail(down)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert {left.trace for left in caught.value.leftovers} == {f"memory://s1/{IMAGE}", stage.recorder.traces["s1"]}
    stage.assert_only("s1")


# -- what only watches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["transferring", "flushing", "committing", "done"])
def test_an_observer_that_fails_changes_nothing(stage: Stage, phase: str) -> None:
    def observe(progress: object) -> None:
        if progress.phase == phase:  # type: ignore[attr-defined]
            raise BrokenPipeError("nobody looks")

    request = TransferRequest(IMAGE, FaultySource(DATA), stage.stores)
    run(transfer(request, stage.recorder, observe))
    stage.assert_only(*NAMES)


def test_an_observer_that_fails_does_not_stop_a_rollback(stage: Stage) -> None:
    def observe(progress: object) -> None:
        raise BrokenPipeError("nobody looks")

    with pytest.raises(SourceError):
        run(transfer(TransferRequest(IMAGE, FaultySource(DATA, fails_at=SLOT), stage.stores), stage.recorder, observe))
    stage.assert_only()


# -- the recorder ---------------------------------------------------------------------------------------------------------


class Refused(GlanceStreamError):
    """What a catalogue raises whose lock was lost."""


@pytest.mark.parametrize("step", ["opened", "opened:s1", "flushed:s1", "verified", "committed", "committed:s1", "finished"])
def test_what_is_not_recorded_is_undone(stage: Stage, step: str) -> None:
    stage.recorder.script[step] = Fail(Refused)
    with pytest.raises(Refused) as caught:
        run(stage.transfer(FaultySource(DATA)))
    stage.assert_only()
    assert caught.value.leftovers == ()
    assert stage.recorder.events[-1] == "rolled_back"
    assert stage.recorder.failures == {}


@pytest.mark.parametrize("best_effort", [False, True])
@pytest.mark.parametrize("position", range(3))
def test_no_store_is_touched_before_every_trace_is_recorded(stage: Stage, position: int, best_effort: bool) -> None:
    """Journal before act: a recorder that fails leaves nothing anywhere, because there was nothing to leave."""
    stage.recorder.script[f"opened:s{position}"] = Fail(Refused)
    with pytest.raises(Refused) as caught:
        run(stage.transfer(FaultySource(DATA), best_effort=best_effort))
    assert [store.calls for store in stage.stores] == [[], [], []]
    assert list(stage.recorder.traces) == [f"s{number}" for number in range(position)]
    assert caught.value.leftovers == ()
    stage.assert_only()


def test_what_is_recorded_is_what_the_store_makes(stage: Stage) -> None:
    recorded: list[set[str]] = []

    class Look(Slow):
        async def strike(self) -> None:
            recorded.append(set(stage.recorder.traces.values()))
            made = {trace for store in stage.memory for trace in store.pending}
            assert made <= recorded[-1]

    for number in range(3):
        stage.script(number, {"open": Look(0), "opened": Look(0), "flush": Look(0)})
    run(stage.transfer(FaultySource(DATA)))
    assert {len(traces) for traces in recorded} == {3}


@pytest.mark.parametrize("step", ["opened", "opened:s1", "flushed:s1", "verified"])
def test_best_effort_needs_the_recorder_until_the_first_commit(stage: Stage, step: str) -> None:
    stage.recorder.script[step] = Fail(Refused)
    with pytest.raises(Refused):
        run(stage.transfer(FaultySource(DATA), best_effort=True))
    stage.assert_only()
    assert stage.recorder.events[-1] == "rolled_back"


def test_best_effort_without_one_record(stage: Stage) -> None:
    stage.recorder.script["committed:s1"] = Fail(Refused)
    done = run(stage.transfer(FaultySource(DATA), best_effort=True))
    stage.assert_only("s0", "s2")
    assert isinstance(done.failures["s1"], Refused)


def test_best_effort_without_any_record(stage: Stage) -> None:
    stage.recorder.script["committed"] = Fail(Refused)
    with pytest.raises(ImportFailed):
        run(stage.transfer(FaultySource(DATA), best_effort=True))
    stage.assert_only()
    assert stage.recorder.events[-1] == "rolled_back"


def test_best_effort_keeps_what_was_recorded(stage: Stage) -> None:
    """And does not say that everything was undone, which would be believed."""
    stage.recorder.script["finished"] = Fail(Refused)
    with pytest.raises(Refused):
        run(stage.transfer(FaultySource(DATA), best_effort=True))
    stage.assert_only(*NAMES)
    assert "rolled_back" not in stage.recorder.events


def test_a_rollback_that_can_not_be_recorded_hides_nothing(stage: Stage) -> None:
    stage.script(0, {"flush": Fail(full)})
    stage.recorder.script["rolled_back"] = Fail(Refused)
    with pytest.raises(ImportFailed):
        run(stage.transfer(FaultySource(DATA)))
    stage.assert_only()


def test_without_a_recorder(stage: Stage) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(5):
            await transfer(TransferRequest(IMAGE, FaultySource(DATA), stage.stores))

    run(scenario())
    stage.assert_only(*NAMES)
