"""Taking an image for an operation: from nobody, or from one that is dead or was silent for too long, which is ended first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from glance_stream import threads
from glance_stream.catalogue import Operation, Task, may_be_taken_over
from glance_stream.errors import ImageLocked, ImageNotFound
from glance_stream.importing.interrupted import roll_back
from glance_stream.importing.lease import Lease, hold
from glance_stream.importing.resuming import find_left, going_on
from glance_stream.importing.site import Site

LOG = logging.getLogger(__name__)


@asynccontextmanager
async def locked(site: Site, image_id: str, operation: Operation, resume: Collection[str] = ()) -> AsyncIterator[Lease]:
    """Hold the image until the block ends. Raises ImageLocked, ImageNotFound; LockLost when another has taken it meanwhile.

    What a dead or silent holder had begun is rolled back or finished before, as `recover` does; ``lease.notes`` tell. But what it
    left in the stores of ``resume`` stays, where this operation can go on with it: ``lease.left``.
    """
    take = partial(site.catalogue.acquire, image_id, Task.here(image_id, operation))
    async with AsyncExitStack() as stack:
        try:
            lease = await stack.enter_async_context(hold(site.catalogue, take))
        except ImageLocked as refusal:
            if _is_cancelled():  # while the answer was waited for; it must not end in taking the image over
                raise asyncio.CancelledError from refusal
            interrupted = await threads.call(site.catalogue.interruption, image_id)
            if interrupted is None or not may_be_taken_over(interrupted.task):
                raise
            if left := find_left(site, interrupted, operation, resume):
                lease = await stack.enter_async_context(going_on(site, interrupted, operation, left))
            else:
                note = (await roll_back(site, interrupted)).note
                LOG.info("image %s: %s", image_id, note)
                try:
                    lease = await stack.enter_async_context(hold(site.catalogue, take))
                except ImageNotFound as gone:  # a deletion, of which only the record was left
                    raise ImageNotFound(f"image {image_id} is deleted now: {note}") from gone
                lease.notes = (note,)
        yield lease


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
