"""The ordered undo by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from faults.loop import run

from glance_stream.errors import NotFound, StoreDenied
from glance_stream.rollback import Rollback

Undo = Callable[[], Awaitable[None]]


@pytest.fixture
def done() -> list[str]:
    return []


def noting(done: list[str], name: str, error: Exception | None = None) -> Undo:
    async def undo() -> None:
        done.append(name)
        if error is not None:
            raise error

    return undo


def test_everything_is_undone_once(done: list[str]) -> None:
    rollback = Rollback(1)
    for name in "abc":
        rollback.push(name, name, noting(done, name))
    run(rollback.undo_all())
    run(rollback.undo_all())
    assert (done, rollback.leftovers) == (["c", "b", "a"], ())


def test_stores_that_hang_cost_the_time_of_one(done: list[str]) -> None:
    """And each keeps its own order."""
    rollback = Rollback(0.2)
    for store_id in "abcdef":
        rollback.push(store_id, "older", noting(done, store_id))
        rollback.push(store_id, "newer", asyncio.Event().wait)  # type: ignore[arg-type]

    async def scenario() -> float:
        started = time.monotonic()
        await rollback.undo_all()
        assert len(asyncio.all_tasks()) == 1
        return time.monotonic() - started

    assert 0.2 <= run(scenario()) < 0.8
    assert sorted(done) == list("abcdef")
    assert [left.trace for left in rollback.leftovers] == ["newer"] * 6


def test_newest_first_within_a_store(done: list[str]) -> None:
    rollback = Rollback(1)
    for number in range(3):
        for store_id in "ab":
            rollback.push(store_id, "", noting(done, f"{store_id}{number}"))
    run(rollback.undo_all())
    for store_id in "ab":
        assert [name for name in done if name[0] == store_id] == [f"{store_id}{number}" for number in (2, 1, 0)]


def test_what_cancels_itself_is_a_leftover(done: list[str]) -> None:
    """As a driver does whose own task was cancelled. It is no cancellation of the rollback."""

    async def undo() -> None:
        raise asyncio.CancelledError

    rollback = Rollback(1)
    rollback.push("a", "older", noting(done, "a"))
    rollback.push("a", "newer", undo)
    rollback.push("b", "b", noting(done, "b"))
    run(rollback.undo_all())
    assert (sorted(done), [left.trace for left in rollback.leftovers]) == (["a", "b"], ["newer"])


def test_a_failure_is_a_leftover_and_stops_nothing(done: list[str]) -> None:
    rollback = Rollback(1)
    errors = {
        "a": None,
        "b": StoreDenied("b", "no"),
        "c": NotFound("c", "gone"),
        "d": ValueError("bug"),
        "e": TimeoutError("its own"),
    }
    for name, error in errors.items():
        rollback.push(name, f"trace of {name}", noting(done, name, error))
    run(rollback.undo_all())
    assert done == list("edcba")
    assert {left.trace: left.reason for left in rollback.leftovers} == {
        "trace of e": "TimeoutError: its own",
        "trace of d": "ValueError: bug",
        "trace of b": "store 'b': no",
    }


def test_a_hang_is_a_leftover(done: list[str]) -> None:
    rollback = Rollback(0.05)
    rollback.push("a", "a", noting(done, "a"))
    rollback.push("b", lambda: "asked late", asyncio.Event().wait)  # type: ignore[arg-type]
    run(rollback.undo_all())
    assert done == ["a"]
    assert [(left.trace, left.reason) for left in rollback.leftovers] == [("asked late", "removal did not end within 0.05 s")]


def test_one_store_alone(done: list[str]) -> None:
    rollback = Rollback(1)
    for name in "aba":
        rollback.push(name, name, noting(done, name))
    run(rollback.undo("a"))
    assert done == ["a", "a"]
    rollback.replace("b", "b", noting(done, "new b"))
    rollback.push("c", "c", noting(done, "c"))
    rollback.forget("c")
    run(rollback.undo_all())
    assert done == ["a", "a", "new b"]


@pytest.mark.parametrize("everything", [False, True])
def test_an_interrupted_step_stays_registered(done: list[str], everything: bool) -> None:
    rollback = Rollback(10)
    gate = asyncio.Event()

    async def undo() -> None:
        done.append("begun")
        await gate.wait()
        done.append("ended")

    rollback.push("a", "a", undo)

    async def scenario() -> None:
        task = asyncio.create_task(rollback.undo_all() if everything else rollback.undo("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await rollback.undo_all()

    run(scenario())
    assert (done, rollback.leftovers) == (["begun", "begun", "ended"], ())


def test_hurry_gives_up_the_steps_that_run() -> None:
    rollback = Rollback(60)
    for store_id in "abc":
        rollback.push(store_id, store_id, asyncio.Event().wait)  # type: ignore[arg-type]

    async def scenario() -> None:
        task = asyncio.create_task(rollback.undo_all())
        await asyncio.sleep(0.01)
        rollback.hurry()
        async with asyncio.timeout(5):
            await task

    run(scenario())
    assert len(rollback.leftovers) == 3
