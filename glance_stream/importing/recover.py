"""Finishing what a dead process began, and what a rollback could not remove."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from glance_stream import threads
from glance_stream.catalogue import Content, Entry, Event, Interrupted, Journal, Operation, RecordedLeftover, Task, may_be_taken_over
from glance_stream.chunker import DigestRefused
from glance_stream.errors import GlanceStreamError, ImageLocked, ImageNotFound, Leftover, NotFound, StoreError
from glance_stream.importing.asking import ask, ask_stat
from glance_stream.importing.delete import find_gone, finish_deletion
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location
from glance_stream.rollback import IN_DOUBT, Rollback
from glance_stream.transfer import examine

LOG = logging.getLogger(__name__)

INTERRUPTED = ("Interrupted", "the process that ran the import ended before the store was done")


@dataclass(frozen=True)
class Recovered:
    """What `recover` did: images rolled back or finished, images whose holder may live, leftovers removed and still there."""

    images: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    removed: tuple[Leftover, ...] = ()
    leftovers: tuple[Leftover, ...] = ()


async def recover(site: Site) -> Recovered:
    """Roll back every operation whose process is certainly dead, then try again to remove every recorded leftover."""
    done: list[str] = []
    held: list[str] = []
    for interrupted in await threads.call(site.catalogue.interrupted):
        if may_be_taken_over(interrupted.task) and await _roll_back(site, interrupted):
            done.append(interrupted.image.image_id)
        else:
            held.append(f"image {interrupted.image.image_id}: {interrupted.task}")
    removed: list[Leftover] = []
    kept: list[Leftover] = []
    for recorded in await threads.call(site.catalogue.leftovers):
        still = await _remove(site, recorded)
        if still is None:
            removed.append(recorded.leftover)
        else:
            kept.append(still)
    return Recovered(tuple(done), tuple(held), tuple(removed), tuple(kept))


async def _roll_back(site: Site, interrupted: Interrupted) -> bool:
    """Whether this process has taken the operation over and ended it. Not a deletion whose store does not tell what is gone."""
    image, task = interrupted.image, Task.here(interrupted.image.image_id, Operation.RECOVER)
    try:
        gone = await find_gone(site, interrupted.deletion) if interrupted.deletion else []
    except GlanceStreamError as error:
        LOG.warning("image %s stays locked, since it can't be told what was deleted: %s", image.image_id, error)
        return False
    try:
        lock = await threads.call(site.catalogue.take_over, image.image_id, task)
    except ImageLocked:
        return False
    if interrupted.journal is not None:
        await _end(site, lock.task, image, interrupted.journal)
    elif interrupted.deletion is not None and lock.taken_from == interrupted.task:
        await finish_deletion(site, lock.task, image, interrupted.deletion, gone)
    await threads.call(site.catalogue.release, lock.task)
    return True


async def _end(site: Site, task: Task, image: Image, journal: Journal) -> None:
    """Undo all but the locations that the image has been active with: an active image never goes back."""
    recorded = [entry for entry in journal.entries if entry.event is Event.RECORDED and entry.location]
    kept = {entry.store_id for entry in recorded}
    rollback = Rollback(site.limits.undo_timeout)
    for entry in journal.entries:
        if entry.store_id not in kept and entry.event is not Event.FLUSHED:  # its trace was recorded when it was opened
            _register(site, rollback, entry)
    doubts = await _register_unrecorded(site, rollback, image.image_id, journal, kept)
    await rollback.undo_all()
    leftovers = (*rollback.leftovers, *doubts)  # of two about one trace the last is remembered
    failed = {store_id: INTERRUPTED for store_id in journal.stores if store_id not in kept}
    if kept:
        locations = [entry.location for entry in recorded if entry.location]
        await threads.call(site.catalogue.record_success, task, locations, failed)
        await threads.call(site.catalogue.record_leftovers, image.image_id, leftovers)
    else:
        await threads.call(site.catalogue.record_failure, task, failed, leftovers)


def _register(site: Site, rollback: Rollback, entry: Entry) -> None:
    async def undo() -> None:
        store = site.store(entry.store_id)
        if entry.location is not None:
            await store.delete(entry.location)
        elif entry.trace is not None:
            await store.discard(entry.trace)

    rollback.push(entry.store_id, entry.location.url if entry.location else entry.trace or "", undo)


async def _register_unrecorded(site: Site, rollback: Rollback, image_id: str, journal: Journal, kept: set[str]) -> list[Leftover]:
    """It may have died between a commit and the record of it. Gives what a store did not tell.

    The objects are steps of their own: where one fails, the leftover is the object and not the temporary one of its writer.
    """
    doubts = []
    for store_id, trace in _commits_without_record(journal):
        if store_id in kept or journal.verified is None:
            continue
        try:
            found = await _made_by(site, store_id, trace, image_id, journal.verified)
            if found is not None:
                rollback.push(store_id, found.url, partial(_delete, site, found))
        except GlanceStreamError as error:
            LOG.warning("can't tell whether store %r has an object of image %s: %s", store_id, image_id, error)
            doubts.append(Leftover(store_id, trace, f"{IN_DOUBT}: {error}"))
    return doubts


async def _made_by(site: Site, store_id: str, trace: str, image_id: str, content: Content) -> Location | None:
    """The object that this writer has made visible. Where objects do not tell, that which holds just what it was writing."""
    store = site.store(store_id)
    if store.traits.marked:
        return await ask(store_id, store.published(trace), site.limits.undo_timeout)
    found = await _find(site, store_id, image_id)
    return found if found is not None and await _holds(site, found, content) else None


def _commits_without_record(journal: Journal) -> list[tuple[str, str]]:
    """Store and trace of each writer that may have committed, once the stream was verified.

    A best effort records which writers are going to be asked to; where a store had dropped out, the object may be another's. Where
    all had to succeed there is no such record: every store was open and empty, or nothing was verified.
    """
    flushed = [entry for entry in journal.entries if entry.event is Event.FLUSHED]
    asked = flushed or [entry for entry in journal.entries if entry.event is Event.OPENED]
    committed = {entry.store_id for entry in journal.entries if entry.event is Event.COMMITTED}
    return [(entry.store_id, entry.trace) for entry in asked if entry.trace is not None and entry.store_id not in committed]


# -- leftovers ----------------------------------------------------------------------------------------------------------------


async def _remove(site: Site, recorded: RecordedLeftover) -> Leftover | None:
    """The leftover if it is still there, with the reason of today; None when it is gone and forgotten."""
    left = recorded.leftover
    in_doubt = left.reason.startswith(IN_DOUBT)
    try:
        store = site.store(left.store_id)
        if store.owns(left.trace):
            await _remove_object(site, recorded)
        else:
            await ask(left.store_id, store.discard(left.trace), site.limits.undo_timeout)
            if in_doubt:
                await _settle_doubt(site, recorded)
    except NotFound:
        pass
    except GlanceStreamError as error:
        LOG.warning("leftover of image %s: %s", recorded.image_id, error)
        still = replace(left, reason=f"{IN_DOUBT}: {error}" if in_doubt else str(error))
        if still != left:
            await threads.call(site.catalogue.record_leftovers, recorded.image_id, [still])
        return still
    await threads.call(site.catalogue.remove_leftover, recorded.number)
    return None


async def _remove_object(site: Site, recorded: RecordedLeftover) -> None:
    """Unless the image has meanwhile been given, in due form, the very object that was once left over."""
    async with _held(site, recorded.image_id) as image:
        if image is None or all(location.url != recorded.leftover.trace for location in image.locations):
            await _delete(site, Location(recorded.leftover.trace, recorded.leftover.store_id))


async def _settle_doubt(site: Site, recorded: RecordedLeftover) -> None:
    """A commit may have taken effect that nobody recorded. Raises StoreError where that can't be told.

    Deleted is what bears the writer's mark. Where objects bear none, only what is known to be one copy too many: it equals what the
    image records, which is the stream that was being committed, and a recorded location was read and equals it too. After a failed
    import nothing is known of the stream any more; then the object may be somebody's only copy and is left to the operator.
    """
    left = recorded.leftover
    store = site.store(left.store_id)
    async with _held(site, recorded.image_id) as image:
        if store.traits.marked:
            found = await ask(left.store_id, store.published(left.trace), site.limits.undo_timeout)
        else:
            found = await _find(site, left.store_id, recorded.image_id)
        if found is None or (image is not None and any(location.url == found.url for location in image.locations)):
            return
        if not store.traits.marked:
            await _require_spare(site, image, found)
        await _delete(site, found)


async def _require_spare(site: Site, image: Image | None, found: Location) -> None:
    if image is None or not await _holds(site, found, image):
        raise StoreError(found.store_id, f"{found.url} is there, and no record tells whether it is ours: left alone")
    if not await _has_good_location(site, image):
        raise StoreError(found.store_id, f"{found.url} may be the only good copy of the image: left alone")


async def _has_good_location(site: Site, image: Image) -> bool:
    for location in image.locations:
        try:
            if await _holds(site, location, image):
                return True
        except GlanceStreamError as error:
            LOG.warning("%s", error)
    return False


@asynccontextmanager
async def _held(site: Site, image_id: str) -> AsyncIterator[Image | None]:
    """The image under its lock, since an object that another operation has just committed looks like a leftover.

    None for an image without a record, which nobody works on. Raises ImageLocked.
    """
    async with AsyncExitStack() as stack:
        image = None
        with suppress(ImageNotFound):
            await stack.enter_async_context(site.locked(image_id, Operation.RECOVER))
            image = await site.image(image_id)
        yield image


# -- asking stores ------------------------------------------------------------------------------------------------------------


async def _find(site: Site, store_id: str, image_id: str) -> Location | None:
    return await ask(store_id, site.store(store_id).find(image_id), site.limits.undo_timeout)


async def _delete(site: Site, location: Location) -> None:
    await ask(location.store_id, site.store(location.store_id).delete(location), site.limits.undo_timeout)


async def _holds(site: Site, location: Location, content: Content | Image) -> bool:
    """Whether the object is this very content. What has no digest on record is not known to be."""
    algorithm, value, limits = content.os_hash_algo, content.os_hash_value, site.limits
    if not algorithm or not value:
        return False
    try:
        if (await ask_stat(site, location)).size != content.size:
            return False
        found = await examine(site.store(location.store_id).open_reader(location), [algorithm], limits.slot_size, limits)
    except NotFound:
        return False
    except DigestRefused as error:
        raise StoreError(location.store_id, f"{location.url} can't be compared: {error}") from error
    return found.digests[algorithm] == value
