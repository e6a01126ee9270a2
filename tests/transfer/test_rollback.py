"""The ordered undo by itself."""

from __future__ import annotations

import asyncio
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


def test_newest_first(done: list[str]) -> None:
    rollback = Rollback(1)
    for name in "abc":
        rollback.push(name, name, noting(done, name))
    run(rollback.undo_all())
    run(rollback.undo_all())
    assert (done, rollback.leftovers) == (["c", "b", "a"], ())


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


def test_hurry_gives_up_the_step_that_runs() -> None:
    rollback = Rollback(60)
    rollback.push("a", "a", asyncio.Event().wait)  # type: ignore[arg-type]

    async def scenario() -> None:
        task = asyncio.create_task(rollback.undo_all())
        await asyncio.sleep(0.01)
        rollback.hurry()
        async with asyncio.timeout(5):
            await task

    run(scenario())
    assert len(rollback.leftovers) == 1
