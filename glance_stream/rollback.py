"""Ordered undo that never hides the first cause.

A step is registered the moment there is something to undo. Of each store the newest step runs first; the stores know nothing of
each other and are undone side by side, so that several that hang cost the time of one. A step that fails or does not end in time
becomes a leftover and does not keep the others from running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from glance_stream.errors import GlanceStreamError, Leftover, NotFound

Undo = Callable[[], Awaitable[None]]

# How the reason of a leftover begins whose store may hold the whole object under the image's name, unrecorded.
IN_DOUBT = "the commit may have taken effect"

HURRY_SECONDS = 0.5  # what a step may still take once whoever waits has lost patience


@dataclass(frozen=True)
class _Step:
    store_id: str
    trace: str | Callable[[], str]
    undo: Undo
    in_doubt: Callable[[], bool] | None = None

    def leftover(self, reason: str) -> Leftover:
        if self.in_doubt is not None and self.in_doubt():
            reason = f"{IN_DOUBT}: {reason}"
        return Leftover(self.store_id, self.trace if isinstance(self.trace, str) else self.trace(), reason)


class Rollback:
    """What would have to be undone, and the undoing of it."""

    def __init__(self, step_timeout: float) -> None:
        """``step_timeout``: seconds that one step may take."""
        self._step_timeout = step_timeout
        self._steps: list[_Step] = []
        self._lost: list[Leftover] = []
        self._running: set[asyncio.Timeout] = set()

    def push(self, store_id: str, trace: str | Callable[[], str], undo: Undo) -> None:
        """Register a step. ``trace`` is what the record of a leftover will name; a function is asked when it comes to that."""
        self._steps.append(_Step(store_id, trace, undo))

    def replace(
        self, store_id: str, trace: str | Callable[[], str], undo: Undo, in_doubt: Callable[[], bool] | None = None
    ) -> None:
        """The store's newest state takes the place of what was registered for it: it is now the newest step.

        ``in_doubt``: asked when the step can't be undone; true makes the reason begin with IN_DOUBT, and `recover` look.
        """
        self.forget(store_id)
        self._steps.append(_Step(store_id, trace, undo, in_doubt))

    def forget(self, store_id: str) -> None:
        """Nothing of this store has to be undone any more."""
        self._steps = [step for step in self._steps if step.store_id != store_id]

    async def undo(self, store_id: str) -> None:
        """Undo the steps of one store now; the others stay registered. So does a step that a cancellation interrupts."""
        for step in [step for step in reversed(self._steps) if step.store_id == store_id]:
            await self._run(step)
            self._steps.remove(step)

    async def undo_all(self) -> None:
        """Undo everything: the newest step of a store first, the stores side by side."""
        async with asyncio.TaskGroup() as stores:
            for store_id in dict.fromkeys(step.store_id for step in reversed(self._steps)):
                stores.create_task(self.undo(store_id))

    def lose(self, store_id: str, trace: str, reason: str) -> None:
        """A step has found something more that can't be removed, beside what its own failure names."""
        self._lost.append(Leftover(store_id, trace, reason))

    def hurry(self) -> None:
        """A step that hangs is given up soon."""
        self._step_timeout = min(self._step_timeout, HURRY_SECONDS)
        for limit in self._running:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time() + self._step_timeout)

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What could not be undone so far."""
        return tuple(self._lost)

    async def _run(self, step: _Step) -> None:
        limit = asyncio.timeout(self._step_timeout)
        self._running.add(limit)
        try:
            async with limit:
                await step.undo()
        except NotFound:
            pass  # gone already, which is what was wanted
        except GlanceStreamError as error:
            self._lost.append(step.leftover(str(error)))
        except Exception as error:  # a store's bug must not keep the other stores from being cleaned
            reason = (
                f"removal did not end within {self._step_timeout:g} s" if limit.expired() else f"{type(error).__name__}: {error}"
            )
            self._lost.append(step.leftover(reason))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._lost.append(step.leftover("removal was cancelled by the store itself"))
        finally:
            self._running.discard(limit)
