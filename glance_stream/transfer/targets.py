"""All stores of a transfer: the same step for each side by side, and what it means when one of them fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from glance_stream import threads
from glance_stream.errors import GlanceStreamError, ImportFailed, RecordInDoubt
from glance_stream.transfer.target import Target, as_store_error

LOG = logging.getLogger(__name__)

Step = Callable[[Target], Awaitable[None]]


class Targets:
    """The stores of one transfer under one policy: all must succeed, or as many as can (``best_effort``)."""

    def __init__(self, targets: list[Target], best_effort: bool) -> None:
        self._targets = targets
        self._best_effort = best_effort

    @property
    def all(self) -> list[Target]:
        return list(self._targets)

    @property
    def live(self) -> list[Target]:
        """Those that have not failed."""
        return [target for target in self._targets if target.live]

    @property
    def failures(self) -> dict[str, GlanceStreamError]:
        return {target.store_id: target.error for target in self._targets if target.error is not None}

    @property
    def kept(self) -> dict[str, int]:
        """Of the stores where an interrupted transfer is gone on with, the bytes that did not have to be written again."""
        return {target.store_id: target.kept for target in self.live if target.kept is not None}

    async def each(self, step: Step, then: Step | None = None) -> None:
        """``step`` for each live store at the same time; all have ended when this returns or raises.

        A failing ``step`` is its store's failure; a failing ``then``, which follows a step that went well, is everybody's.
        """
        tasks = [asyncio.ensure_future(self._attempt(target, step, then)) for target in self.live]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            cancelled = await threads.to_its_end(asyncio.gather(*tasks, return_exceptions=True))
            _raise_doubt(tasks)
        if cancelled:  # it came after the last step had ended
            raise asyncio.CancelledError

    async def _attempt(self, target: Target, step: Step, then: Step | None) -> None:
        try:
            await step(target)
        except RecordInDoubt:
            raise  # what the store holds may be the image's
        except Exception as error:
            await self.drop(target, error)
        else:
            if then is not None:
                await then(target)

    async def drop(self, target: Target, error: Exception) -> None:
        """A store has failed. Returns when the others may go on without it; raises ImportFailed when that is the end."""
        reason = as_store_error(target.store_id, error)
        if not self._best_effort:
            target.error = reason
            raise self._failed() from error
        LOG.warning("going on without a store: %s", reason)
        await target.fail(reason)
        if not self.live:
            raise self._failed() from error

    def _failed(self) -> ImportFailed:
        return ImportFailed("; ".join(str(failure) for failure in self.failures.values()), self.failures)


def _raise_doubt(ended: Iterable[asyncio.Task[None]]) -> None:
    """Whatever else ended the step: what one of them may have made an active image's is not to be undone."""
    for task in ended:
        if not task.cancelled() and isinstance(doubt := task.exception(), RecordInDoubt):
            raise doubt
