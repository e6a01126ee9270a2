"""Going on where an operation of a dead process was: what it left in the stores is kept for the next one of its kind.

Only where its process is certainly dead. One that merely lost its lease may still write, and into the very file that would be gone
on with. Nor once the stream was verified: then a store may have committed, and ending the operation settles that.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial

from glance_stream import threads
from glance_stream.catalogue import Event, Interrupted, Journal, Operation, Task, holder_is_dead
from glance_stream.errors import GlanceStreamError, ImageLocked, Leftover
from glance_stream.importing.interrupted import INTERRUPTED, end, to_be_discarded
from glance_stream.importing.lease import Lease, hold
from glance_stream.importing.left import Left
from glance_stream.importing.site import Site
from glance_stream.rollback import Rollback

LOG = logging.getLogger(__name__)

UNDECIDED = {Event.OPENED, Event.ADOPTING, Event.FLUSHED}  # the events of an operation that has made nothing visible


def find_left(site: Site, interrupted: Interrupted, operation: Operation, stores: Collection[str]) -> dict[str, str]:
    """Of an operation of the same kind: the newest trace in each of these stores that can go on. Empty where none may be kept."""
    journal = interrupted.journal
    if journal is None or journal.verified is not None or not holder_is_dead(interrupted.task):
        return {}
    if journal.importing != (operation is Operation.IMPORT) or any(entry.event not in UNDECIDED for entry in journal.entries):
        return {}
    traces: dict[str, str] = {}
    for entry in journal.entries:
        if entry.event is Event.ADOPTING:
            traces.pop(entry.store_id, None)
        elif entry.trace is not None and entry.store_id in stores and site.store(entry.store_id).traits.resumable:
            traces[entry.store_id] = entry.trace
    return traces


@asynccontextmanager
async def going_on(site: Site, interrupted: Interrupted, operation: Operation, traces: Mapping[str, str]) -> AsyncIterator[Lease]:
    """Hold the image with these traces of the operation that is taken over. One that does not begin with them ends it at last."""
    image_id = interrupted.image.image_id
    take = partial(site.catalogue.take_over, image_id, Task.here(image_id, operation))
    async with hold(site.catalogue, take) as lease:
        taken = await threads.call(site.catalogue.interruption, image_id)
        journal = None if taken is None else taken.journal
        try:
            if journal is None or journal != interrupted.journal:  # a COMMIT of the dead process came late
                raise ImageLocked(f"image {image_id}: the interrupted operation had come further than it seemed; try again")
            lease.left = await _keep(site, lease, journal, traces)
            lease.notes = (_note(interrupted, lease.left),)
            LOG.info("image %s: %s", image_id, lease.notes[0])
            yield lease
        finally:
            if not lease.left.claimed and journal is not None:
                try:
                    await threads.to_its_end(end(site, lease, interrupted.task, journal))
                except GlanceStreamError as error:
                    LOG.error("%s", error)


def _note(interrupted: Interrupted, left: Left) -> str:
    lost = (
        f"; {len(left.leftovers)} of its other traces could not be removed: run 'glance-stream recover'" if left.leftovers else ""
    )
    return f"took the image over from {interrupted.task}, to go on with what that had begun{lost}"


async def _keep(site: Site, lease: Lease, journal: Journal, traces: Mapping[str, str]) -> Left:
    """Remove all but these traces, of an operation that the lease has just been taken over from.

    The outcome is left to `Catalogue.begin_again`: until then the journal has it all.
    """
    lease.enter("recovering")
    beginning = await threads.call(site.catalogue.beginning, lease.task)
    leftovers = await _discard_rest(site, journal, traces)
    return Left(traces, dict.fromkeys(journal.stores, INTERRUPTED), leftovers, beginning)


async def _discard_rest(site: Site, journal: Journal, traces: Mapping[str, str]) -> tuple[Leftover, ...]:
    rollback = Rollback(site.limits.undo_timeout)
    for one in to_be_discarded(journal):
        if traces.get(one.store_id) != one.trace:
            _register(site, rollback, one.store_id, one.trace)
    await rollback.undo_all()
    return rollback.leftovers


def _register(site: Site, rollback: Rollback, store_id: str, trace: str) -> None:
    async def undo() -> None:
        await site.store(store_id).discard(trace)

    rollback.push(store_id, trace, undo)
