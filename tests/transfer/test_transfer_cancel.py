"""Cancellation at every phase: it ends soon, nothing is left, and what was recorded is not taken back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from faults.fault import Fail, Hang, Slow
from faults.loop import run
from faults.source import FaultySource
from faults.store import FaultyStore
from stage import DATA, IMAGE, SLOT, Stage

from glance_stream import threads
from glance_stream.errors import StoreFull, StoreUnavailable
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Limits, Transferred

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BEST_EFFORT = pytest.mark.parametrize("best_effort", [False, True])
LIMITS = Limits(slots=2, slot_size=SLOT, undo_timeout=0.3)
SOON = 3.0  # a second, and room for a busy machine


async def cancelled(task: asyncio.Task[Transferred]) -> None:
    """Cancel and see that it ends soon as cancelled."""
    task.cancel()
    async with asyncio.timeout(SOON):
        with pytest.raises(asyncio.CancelledError):
            await task


def start(stage: Stage, source: FaultySource, **fields: Any) -> asyncio.Task[Transferred]:
    return asyncio.create_task(stage.transfer(source, **{"limits": LIMITS, **fields}))


@LOOPS
@BEST_EFFORT
@pytest.mark.parametrize("phase", ["opening", "first bytes", "reading"])
def test_while_the_source_blocks(stage: Stage, phase: str, best_effort: bool, loop: str) -> None:
    source = FaultySource(DATA, opening_blocks=phase == "opening", blocks_at={"first bytes": 0, "reading": SLOT * 3}.get(phase))
    decompress = "never" if phase == "reading" else "auto"

    async def scenario() -> None:
        task = start(stage, source, best_effort=best_effort, decompress=decompress)
        assert await threads.call(source.blocked.wait, 10)
        await cancelled(task)

    run(scenario(), loop=loop)
    stage.assert_only()
    assert source.closed


@LOOPS
@BEST_EFFORT
@pytest.mark.parametrize("step", ["open", "opened", "write:2", "drained", "flush", "commit-before", "commit-after"])
def test_while_a_store_hangs(stage: Stage, step: str, best_effort: bool, loop: str) -> None:
    hang = Hang()
    # With best effort all three of them: none may be recorded before the cancellation.
    for position in (0, 1, 2) if best_effort and step.startswith("commit") else (1,):
        stage.script(position, {step: hang})
    source = FaultySource(DATA)

    async def scenario() -> None:
        task = start(stage, source, best_effort=best_effort)
        await hang.wait_reached()
        await asyncio.sleep(0.01)
        await cancelled(task)
        assert stage.recorder.events[-1] == "rolled_back"
        hang.release()

    run(scenario(), loop=loop)
    stage.assert_only()
    assert source.closed


@LOOPS
def test_a_second_cancellation_does_not_leave_a_rollback_half_done(stage: Stage, loop: str) -> None:
    """The hanging abort is given up and recorded, and the other stores are cleaned all the same."""
    reading, hang = FaultySource(DATA, blocks_at=SLOT * 3), Hang()
    stage.script(2, {"abort": hang})

    async def scenario() -> None:
        task = start(stage, reading, decompress="never", limits=Limits(slots=2, slot_size=SLOT, undo_timeout=60))
        assert await threads.call(reading.blocked.wait, 10)
        task.cancel()
        await hang.wait_reached()
        await cancelled(task)
        assert [left.store_id for left in stage.recorder.leftovers] == ["s2"]
        hang.release()

    run(scenario(), loop=loop)
    run(stage.memory[2].discard(stage.recorder.traces["s2"]))
    stage.assert_only()


def test_many_cancellations(stage: Stage) -> None:
    source = FaultySource(DATA, blocks_at=SLOT * 3)

    async def scenario() -> None:
        task = start(stage, source, decompress="never")
        assert await threads.call(source.blocked.wait, 10)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()

    run(scenario())
    stage.assert_only()
    assert stage.recorder.leftovers == ()


@pytest.mark.parametrize("step", ["write:2", "flush", "commit-before"])
def test_while_a_store_that_failed_is_being_cleaned(stage: Stage, step: str) -> None:
    """The cleaning that was interrupted is done once more."""
    cleaning, committing = Hang(), Hang()
    stage.script(1, {step: Fail(lambda: StoreFull("s1", "full")), "abort": cleaning})
    for other in (0, 2):
        stage.script(other, {"commit-before": committing})

    async def scenario() -> None:
        task = start(stage, FaultySource(DATA), best_effort=True, limits=Limits(slots=2, slot_size=SLOT, undo_timeout=10))
        await cleaning.wait_reached()
        task.cancel()
        await asyncio.sleep(0.02)
        cleaning.release()
        committing.release()
        await cancelled(task)

    run(scenario())
    stage.assert_only()
    assert stage.recorder.leftovers == ()


# -- the recorder ---------------------------------------------------------------------------------------------------------


@LOOPS
@pytest.mark.parametrize("step", ["opened:s1", "flushed:s1", "verified", "committed:s1"])
def test_a_record_is_not_given_up_half_way(stage: Stage, step: str, loop: str) -> None:
    """Its thread would go on: the record would be made after everything was undone."""
    recording = stage.recorder.script[step] = Hang()

    async def scenario() -> None:
        task = start(stage, FaultySource(DATA))
        await recording.wait_reached()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        recording.release()
        await cancelled(task)

    run(scenario(), loop=loop)
    stage.assert_only()
    assert stage.recorder.events[-1] == "rolled_back"


@BEST_EFFORT
def test_too_late(stage: Stage, best_effort: bool) -> None:
    """The recorder is told that all is done and agrees: nothing may take that back."""
    finishing = stage.recorder.script["finished"] = Hang()

    async def scenario() -> Transferred:
        task = start(stage, FaultySource(DATA), best_effort=best_effort)
        await finishing.wait_reached()
        task.cancel()
        await asyncio.sleep(0.05)
        finishing.release()
        return await task

    assert set(run(scenario()).locations) == {"s0", "s1", "s2"}
    stage.assert_only("s0", "s1", "s2")


@LOOPS
def test_best_effort_ends_early_with_what_was_recorded(stage: Stage, loop: str) -> None:
    hang = Hang()
    stage.script(1, {"commit-before": hang})
    stage.script(2, {"commit-after": hang})
    recording = stage.recorder.script["committed:s0"] = Slow(0)

    async def scenario() -> Transferred:
        task = start(stage, FaultySource(DATA), best_effort=True)
        await hang.wait_reached()
        await recording.wait_reached()
        await asyncio.sleep(0.02)
        task.cancel()
        async with asyncio.timeout(SOON):
            done = await task
        hang.release()
        return done

    done = run(scenario(), loop=loop)
    stage.assert_only("s0")
    assert list(done.locations) == ["s0"]
    assert {store_id: type(error) for store_id, error in done.failures.items()} == dict.fromkeys(["s1", "s2"], StoreUnavailable)
    assert {left.store_id for left in done.leftovers} == {"s1", "s2"}


def test_best_effort_ends_as_well_when_it_is_cancelled_again(stage: Stage) -> None:
    """The store that hangs is given up sooner, and the outcome still names it."""
    hang = Hang()
    stage.script(1, {"commit-before": hang})
    recording = stage.recorder.script["committed:s0"] = Slow(0)

    async def scenario() -> Transferred:
        task = start(stage, FaultySource(DATA), best_effort=True, limits=Limits(slots=2, slot_size=SLOT, undo_timeout=60))
        await hang.wait_reached()
        await recording.wait_reached()
        await asyncio.sleep(0.05)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.02)
        async with asyncio.timeout(SOON):
            done = await task
        hang.release()
        return done

    done = run(scenario())
    stage.assert_only("s0", "s2")
    assert list(done.failures) == [left.store_id for left in done.leftovers] == ["s1"]


def test_best_effort_keeps_what_is_being_recorded(stage: Stage) -> None:
    """The first record is under way when the cancellation comes, and is made."""
    recording = stage.recorder.script["committed:s0"] = Hang()
    hang = Hang()
    for other in (1, 2):
        stage.script(other, {"commit-before": hang})

    async def scenario() -> Transferred:
        task = start(stage, FaultySource(DATA), best_effort=True)
        await recording.wait_reached()
        task.cancel()
        await asyncio.sleep(0.02)
        recording.release()
        done = await task
        hang.release()
        return done

    assert list(run(scenario()).locations) == ["s0"]
    stage.assert_only("s0")


def test_at_any_moment(stage: Stage, tmp_path: Path) -> None:
    """A little later each time, until a transfer is over before it is cancelled."""
    files = FileStore("files", tmp_path)

    async def one(turns: int) -> bool:
        task = start(stage, FaultySource(DATA), stores=[FaultyStore(files), stage.stores[0]])
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert os.listdir(tmp_path) == []
            stage.assert_only()
            return False
        assert os.listdir(tmp_path) == [IMAGE]
        stage.assert_only("s0")
        return True

    async def scenario() -> None:
        turns = 0
        while not await one(turns):
            turns += 1 + turns // 8

    run(scenario())
