"""Coroutines in plain test functions: an event loop of their own, a time limit, and no task left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def run(coro: Coroutine[Any, Any, T], *, seconds: float = 20.0, loop: str = "asyncio") -> T:
    """The coroutine's result. Fails when it takes longer than ``seconds`` or leaves a task running."""

    async def limited() -> T:
        async with asyncio.timeout(seconds):
            try:
                return await coro
            finally:
                await _settle()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(limited())


async def _settle() -> None:
    """Abandoned calls end a moment after what they hung on was let go; a task that is still there after that has leaked."""
    for _ in range(200):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left behind: {left}")
