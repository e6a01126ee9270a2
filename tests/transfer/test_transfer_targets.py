"""The same step for every store, and a cancellation at each moment of it."""

from __future__ import annotations

import asyncio

import pytest
from faults.loop import run
from stage import LIMITS

from glance_stream.errors import SourceError
from glance_stream.rollback import Rollback
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer.pouring import _Patience
from glance_stream.transfer.target import Target
from glance_stream.transfer.targets import Targets


@pytest.mark.parametrize("turns", range(1, 12))
def test_a_cancellation_is_not_lost_whenever_it_comes(turns: int) -> None:
    """Also when the last store's step has ended and only its bookkeeping is left."""

    async def scenario() -> None:
        target = Target(MemoryStore("m"), Rollback(1.0), LIMITS)

        async def step(_: Target) -> None:
            await asyncio.sleep(0)

        async def work() -> None:
            await Targets([target], best_effort=False).each(step)
            await asyncio.sleep(60)  # whatever comes next must not be begun

        task = asyncio.ensure_future(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)

    run(scenario())


def test_patience_ends_only_while_nothing_moves_and_nobody_holds_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("glance_stream.transfer.pouring.time.monotonic", lambda: now)
    patience = _Patience(10)
    for moved, held_up in ((5, False), (5, False), (6, False), (6, True), (7, False)):
        now += 9
        patience.check(moved, held_up=held_up)
    now += 11
    with pytest.raises(SourceError, match="nothing came"):
        patience.check(7, held_up=False)
