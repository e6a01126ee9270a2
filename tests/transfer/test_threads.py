"""Blocking calls on daemon threads."""

from __future__ import annotations

import asyncio
import threading

import pytest
from faults.loop import run

from glance_stream import threads


def test_result_and_error_come_back() -> None:
    assert run(threads.call(divmod, 7, 3)) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        run(threads.call(divmod, 1, 0))


def test_threads_are_daemons_and_used_again() -> None:
    async def scenario() -> set[int]:
        return {await threads.call(threading.get_ident) for _ in range(50)}

    assert len(run(scenario())) <= 2
    assert run(threads.call(lambda: threading.current_thread().daemon))


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.02)
    pool = threads.DaemonThreads()
    thread = pool.submit(threading.current_thread).result(5)
    thread.join(5)
    assert not thread.is_alive()
    assert pool.submit(lambda: "again").result(5) == "again"


def test_a_hung_call_does_not_keep_others_waiting() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        hung = [asyncio.ensure_future(threads.call(gate.wait, 10)) for _ in range(20)]
        assert await threads.call(lambda: "served") == "served"
        gate.set()
        assert await asyncio.gather(*hung) == [True] * 20

    run(scenario())


def test_abandoned_errors_are_silent() -> None:
    gate = threading.Event()

    def fail() -> None:
        gate.wait(10)
        raise ValueError

    async def scenario() -> None:
        future = asyncio.ensure_future(threads.call(fail))
        await asyncio.sleep(0)
        threads.abandon(future)
        gate.set()
        await asyncio.wait([future])

    run(scenario())


def test_to_its_end() -> None:
    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("all of it")

    async def scenario() -> None:
        task = asyncio.create_task(threads.to_its_end(work(), lambda: done.append("told")))
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
        assert await task is True
        assert await threads.to_its_end(work()) is False

    done: list[str] = []
    run(scenario())
    assert done == ["told", "told", "all of it", "all of it"]


def test_to_its_end_raises_what_the_call_raises() -> None:
    async def fail() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        run(threads.to_its_end(fail()))
