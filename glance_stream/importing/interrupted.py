"""Ending one operation whose process is dead, or was silent for too long: rolled back, or finished where data is shown already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from glance_stream import threads
from glance_stream.catalogue import Content, Entry, Event, Interrupted, Journal, Operation, Task
from glance_stream.errors import GlanceStreamError, ImageLocked, Leftover
from glance_stream.importing.asking import ask
from glance_stream.importing.interrupted_deletion import find_gone, finish_deletion
from glance_stream.importing.lease import Lease, hold
from glance_stream.importing.objects import delete_object, find_object, holds
from glance_stream.importing.site import Site
from glance_stream.model import Location
from glance_stream.rollback import IN_DOUBT, Rollback

LOG = logging.getLogger(__name__)

TRACED_BEFORE = (Event.ADOPTING, Event.FLUSHED)  # the trace was recorded when the writer was opened

INTERRUPTED = ("Interrupted", "the process that ran the import ended before the store was done")


@dataclass(frozen=True)
class Trace:
    """Something of a writer's in a store: what it may have left (a trace), or an object (a URL)."""

    store_id: str
    trace: str


@dataclass(frozen=True)
class RolledBack:
    """An operation that was ended. ``discarded``: what is not in the stores now, whether or not it ever was."""

    image_id: str
    task: Task
    discarded: tuple[Trace, ...] = ()
    leftovers: tuple[Leftover, ...] = ()

    @property
    def note(self) -> str:
        left = f"; {len(self.leftovers)} of its traces could not be removed: run 'glance-stream recover'" if self.leftovers else ""
        return f"took the image over from {self.task}, and ended what that had begun{left}"


async def roll_back(site: Site, interrupted: Interrupted) -> RolledBack:
    """Take the operation over and end it. Raises ImageLocked when another was faster, or when a store must be asked and is silent.

    What a store does not remove is recorded as a leftover and holds up nobody. A deletion is not ended unless it can be told what
    is gone.
    """
    image_id = interrupted.image.image_id
    await _gone(site, interrupted)  # before the lock changes hands
    take = partial(site.catalogue.take_over, image_id, Task.here(image_id, Operation.RECOVER))
    async with hold(site.catalogue, take) as lease:
        lease.enter("recovering")
        taken = await threads.call(site.catalogue.interruption, image_id)  # the holder was at work until just now, perhaps
        assert taken is not None, "it is ours"
        ended = RolledBack(image_id, interrupted.task)
        if taken.journal is not None:
            ended = await end(site, lease, interrupted.task, taken.journal)
        elif taken.deletion is not None:
            await finish_deletion(site, lease.task, taken.image, taken.deletion, await _gone(site, taken))
        return ended


def to_be_discarded(journal: Journal) -> list[Trace]:
    """What a roll-back of this journal removes, but for commits of which there is no record."""
    return [_trace(entry) for entry in _to_be_undone(journal)]


async def _gone(site: Site, interrupted: Interrupted) -> list[Location]:
    if interrupted.deletion is None:
        return []
    try:
        return await find_gone(site, interrupted.deletion)
    except GlanceStreamError as error:
        raise ImageLocked(
            f"image {interrupted.image.image_id} stays locked by {interrupted.task}: it can't be told what that has deleted: "
            f"{error}; run 'glance-stream recover' when the store answers"
        ) from error


async def end(site: Site, lease: Lease, task: Task, journal: Journal) -> RolledBack:
    """Undo all but the locations that the image has been active with: an active image never goes back."""
    image_id = task.image_id
    kept = _kept(journal)
    rollback = Rollback(site.limits.undo_timeout)
    for entry in _to_be_undone(journal):
        _register(site, lease, rollback, entry)
    doubts = await _register_unrecorded(site, lease, rollback, image_id, journal)
    await rollback.undo_all()
    leftovers = (*rollback.leftovers, *doubts)  # of two about one trace the last is remembered
    failed = {store_id: INTERRUPTED for store_id in journal.stores if store_id not in kept}
    if kept:
        await threads.call(site.catalogue.record_success, lease.task, list(kept.values()), failed)
        await threads.call(site.catalogue.record_leftovers, image_id, leftovers)
    else:
        await threads.call(site.catalogue.record_failure, lease.task, failed, leftovers)
    left = {(one.store_id, one.trace) for one in leftovers}
    discarded = (one for one in to_be_discarded(journal) if (one.store_id, one.trace) not in left)
    return RolledBack(image_id, task, tuple(discarded), leftovers)


def _kept(journal: Journal) -> dict[str, Location]:
    """By store: where the image has been shown already."""
    return {entry.store_id: entry.location for entry in journal.entries if entry.event is Event.RECORDED and entry.location}


def _to_be_undone(journal: Journal) -> Iterator[Entry]:
    kept = _kept(journal)
    return (entry for entry in journal.entries if entry.store_id not in kept and entry.event not in TRACED_BEFORE)


def _trace(entry: Entry) -> Trace:
    return Trace(entry.store_id, entry.location.url if entry.location else entry.trace or "")


def _register(site: Site, lease: Lease, rollback: Rollback, entry: Entry) -> None:
    async def undo() -> None:
        store = site.store(entry.store_id)
        if entry.location is not None:
            await lease.require()  # what is under the name may be another's, once the image is
            await store.delete(entry.location)
        elif entry.trace is not None:
            await store.discard(entry.trace)

    rollback.push(entry.store_id, _trace(entry).trace, undo)


async def _register_unrecorded(site: Site, lease: Lease, rollback: Rollback, image_id: str, journal: Journal) -> list[Leftover]:
    """It may have died between a commit and the record of it. Gives what a store did not tell.

    The objects are steps of their own: where one fails, the leftover is the object and not the temporary one of its writer.
    """
    doubts = []
    kept = _kept(journal)
    for store_id, trace in _commits_without_record(journal):
        if store_id in kept or journal.verified is None:
            continue
        try:
            found = await _made_by(site, lease, store_id, trace, image_id, journal.verified)
            if found is not None:
                rollback.push(store_id, found.url, partial(_delete, site, lease, found))
        except GlanceStreamError as error:
            LOG.warning("can't tell whether store %r has an object of image %s: %s", store_id, image_id, error)
            doubts.append(Leftover(store_id, trace, f"{IN_DOUBT}: {error}"))
    return doubts


async def _delete(site: Site, lease: Lease, location: Location) -> None:
    await lease.require()
    await delete_object(site, location)


async def _made_by(site: Site, lease: Lease, store_id: str, trace: str, image_id: str, content: Content) -> Location | None:
    """The object that this writer has made visible. Where objects do not tell, that which holds just what it was writing."""
    store = site.store(store_id)
    if store.traits.marked:
        return await ask(store_id, store.published(trace), site.limits.undo_timeout)
    found = await find_object(site, store_id, image_id)
    return found if found is not None and await holds(site, found, content, lease.observer()) else None


def _commits_without_record(journal: Journal) -> list[tuple[str, str]]:
    """Store and trace of each writer that may have committed, once the stream was verified.

    A best effort records which writers are going to be asked to; where a store had dropped out, the object may be another's. Where
    all had to succeed there is no such record: every store was open and empty, or nothing was verified.
    """
    flushed = [entry for entry in journal.entries if entry.event is Event.FLUSHED]
    asked = flushed or [entry for entry in journal.entries if entry.event is Event.OPENED]
    known = {entry.store_id for entry in journal.entries if entry.event is Event.COMMITTED} | _adopting(journal)
    return [(entry.store_id, entry.trace) for entry in asked if entry.trace is not None and entry.store_id not in known]


def _adopting(journal: Journal) -> set[str]:
    """Stores whose object was there before us: nothing but our temporary ones may be removed there.

    A copy opens a store once more for each location that it reads, and what was there then may be gone.
    """
    found: set[str] = set()
    for entry in journal.entries:
        if entry.event is Event.OPENED:
            found.discard(entry.store_id)
        elif entry.event is Event.ADOPTING:
            found.add(entry.store_id)
    return found
