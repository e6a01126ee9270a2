"""Stores that hang: the transfer ends all the same, the others are not disturbed, and what ends late does no harm."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from faults.fault import Fail, Hang
from faults.loop import run
from faults.source import FaultySource
from faults.store import STEPS, FaultyStore
from stage import DATA, IMAGE, IMPATIENT, SLOT, Stage

from glance_stream.errors import ImportFailed, SourceError, StoreTimeout, StoreUnavailable
from glance_stream.rollback import IN_DOUBT
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Limits, Transferred

# An attach that hangs would hang the loop: it may not block, as all coroutines may not.
HANGING = [step for step in STEPS if step != "attach"]
BEST_EFFORT = pytest.mark.parametrize("best_effort", [False, True])


def attempt(stage: Stage, source: FaultySource, hang: Hang, *, best_effort: bool) -> Transferred | ImportFailed:
    """The outcome of a transfer in which one store hangs. Then the store comes back to life, and all tasks end."""

    async def scenario() -> Transferred | ImportFailed:
        try:
            async with asyncio.timeout(8):
                return await stage.transfer(source, best_effort=best_effort, limits=IMPATIENT)
        except ImportFailed as error:
            return error
        finally:
            hang.release()

    return run(scenario())


@BEST_EFFORT
@pytest.mark.parametrize("step", HANGING)
def test_a_hung_store_is_given_up(stage: Stage, step: str, best_effort: bool) -> None:
    hang = Hang()
    stage.script(1, {step: hang})
    source = FaultySource(DATA)
    outcome = attempt(stage, source, hang, best_effort=best_effort)
    assert isinstance(outcome, Transferred if best_effort else ImportFailed)
    assert isinstance(outcome.failures["s1"], StoreTimeout)
    assert source.closed
    assert {left.store_id for left in outcome.leftovers} <= {"s1"}
    # It woke up when the transfer was over: what it made then was removed too.
    stage.assert_only(*(["s0", "s2"] if best_effort else []))


@pytest.mark.parametrize("step", ["open", "opened", "commit-before", "commit-after"])
def test_what_may_still_come_is_a_leftover(stage: Stage, step: str) -> None:
    hang = Hang()
    stage.script(1, {step: hang})
    outcome = attempt(stage, FaultySource(DATA), hang, best_effort=False)
    assert [(left.store_id, left.trace) for left in outcome.leftovers] == [("s1", stage.recorder.traces["s1"])]
    assert outcome.leftovers[0].reason.startswith(IN_DOUBT) == step.startswith("commit")
    assert stage.recorder.leftovers == outcome.leftovers
    run(stage.memory[1].discard(outcome.leftovers[0].trace))


@BEST_EFFORT
def test_a_write_that_ends_late_does_no_harm(tmp_path: Path, stage: Stage, best_effort: bool) -> None:
    files = FileStore("files", tmp_path)
    hang = Hang()

    async def scenario() -> None:
        slow = FaultyStore(files, {"write:2": hang})
        try:
            await stage.transfer(FaultySource(DATA), stores=[*stage.stores, slow], best_effort=best_effort, limits=IMPATIENT)
        except ImportFailed:
            assert not best_effort
        assert os.listdir(tmp_path) == []
        hang.release()

    run(scenario())
    assert list(tmp_path.iterdir()) == []


@BEST_EFFORT
@pytest.mark.parametrize("undo", ["abort", "published"])
def test_an_undo_that_hangs_is_a_leftover(stage: Stage, undo: str, best_effort: bool) -> None:
    hang = Hang()
    stage.script(1, {"commit-before": Fail(lambda: StoreUnavailable("s1", "down")), undo: hang})
    outcome = attempt(stage, FaultySource(DATA), hang, best_effort=best_effort)
    assert isinstance(outcome.failures["s1"], StoreUnavailable)
    assert [(left.store_id, left.trace) for left in outcome.leftovers] == [("s1", stage.recorder.traces["s1"])]
    # After an abort that hung the writer was asked; after a question that hung nobody knows.
    assert outcome.leftovers[0].reason.startswith(IN_DOUBT) == (undo == "published")
    if undo == "abort":
        run(stage.memory[1].discard(outcome.leftovers[0].trace))
    stage.assert_only(*(["s0", "s2"] if best_effort else []))


def test_a_source_is_not_blamed_for_a_slow_store(stage: Stage) -> None:
    hang = Hang()
    stage.script(1, {"write:2": hang})
    limits = Limits(slots=2, slot_size=SLOT, source_timeout=0.2, store_timeout=0.8, undo_timeout=1.0)

    async def scenario() -> None:
        with pytest.raises(ImportFailed):
            await stage.transfer(FaultySource(DATA), limits=limits)
        hang.release()

    run(scenario())
    stage.assert_only()


def test_a_store_is_not_blamed_for_a_slow_source(stage: Stage) -> None:
    limits = Limits(slots=2, slot_size=SLOT, source_timeout=0.8, store_timeout=0.2)
    with pytest.raises(SourceError):
        run(stage.transfer(FaultySource(DATA, blocks_at=3 * SLOT + 1), decompress="never", limits=limits))
    stage.assert_only()


def test_a_hung_store_holds_up_no_later_transfer(stage: Stage) -> None:
    hang = Hang()
    stage.script(1, {"write:2": hang})

    async def scenario() -> None:
        with pytest.raises(ImportFailed):
            await stage.transfer(FaultySource(DATA), limits=IMPATIENT)
        await stage.transfer(FaultySource(DATA), stores=[stage.stores[0], stage.stores[2]])
        hang.release()

    run(scenario())
    stage.assert_only("s0", "s2")
    assert IMAGE not in stage.memory[1].objects
