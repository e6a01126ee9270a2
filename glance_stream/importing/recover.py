"""Finishing what a dead process began, and what a rollback could not remove."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from glance_stream import threads
from glance_stream.catalogue import Content, Entry, Event, Interrupted, Journal, Operation, RecordedLeftover, Task, holder_is_dead
from glance_stream.errors import GlanceStreamError, ImageLocked, ImageNotFound, Leftover, NotFound
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location
from glance_stream.rollback import Rollback
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
        if holder_is_dead(interrupted.task) and await _roll_back(site, interrupted):
            done.append(interrupted.image.image_id)
        else:
            held.append(f"image {interrupted.image.image_id}: {interrupted.task}")
    removed: list[Leftover] = []
    kept: list[Leftover] = []
    for recorded in await threads.call(site.catalogue.leftovers):
        (removed if await _remove(site, recorded) else kept).append(recorded.leftover)
    return Recovered(tuple(done), tuple(held), tuple(removed), tuple(kept))


async def _roll_back(site: Site, interrupted: Interrupted) -> bool:
    """Whether this process has taken the operation over and ended it."""
    image, task = interrupted.image, Task.here(interrupted.image.image_id, Operation.RECOVER)
    try:
        lock = await threads.call(site.catalogue.steal_from_dead, image.image_id, task)
    except ImageLocked:
        return False
    if interrupted.journal is not None:
        await _end(site, lock.task, image, interrupted.journal)
    elif interrupted.task.operation is Operation.DELETE:
        await _finish_delete(site, lock.task, image)
    await threads.call(site.catalogue.release, task)
    return True


async def _end(site: Site, task: Task, image: Image, journal: Journal) -> None:
    """Undo all but the locations that the image has been active with: an active image never goes back."""
    recorded = [entry for entry in journal.entries if entry.event is Event.RECORDED and entry.location]
    kept = {entry.store_id for entry in recorded}
    rollback = Rollback(site.limits.undo_timeout)
    for entry in journal.entries:
        if entry.store_id not in kept:
            _register(site, rollback, entry)
            if entry.trace is not None and journal.verified is not None:
                # It may have died between a commit and the record of it.
                await _register_unrecorded(site, rollback, entry.store_id, image.image_id, journal.verified)
    await rollback.undo_all()
    failed = {store_id: INTERRUPTED for store_id in journal.stores if store_id not in kept}
    if kept:
        locations = [entry.location for entry in recorded if entry.location]
        await threads.call(site.catalogue.record_success, task, locations, failed)
        await threads.call(site.catalogue.record_leftovers, image.image_id, rollback.leftovers)
    else:
        await threads.call(site.catalogue.record_failure, task, failed, rollback.leftovers)


def _register(site: Site, rollback: Rollback, entry: Entry) -> None:
    async def undo() -> None:
        store = site.store(entry.store_id)
        if entry.location is not None:
            await store.delete(entry.location)
        elif entry.trace is not None:
            await store.discard(entry.trace)

    rollback.push(entry.store_id, entry.location.url if entry.location else entry.trace or "", undo)


async def _register_unrecorded(site: Site, rollback: Rollback, store_id: str, image_id: str, verified: Content) -> None:
    """A step of its own: where it fails, the leftover is the object and not the temporary one of its writer."""
    try:
        async with asyncio.timeout(site.limits.undo_timeout):
            location = await site.store(store_id).find(image_id)
    except (GlanceStreamError, TimeoutError) as error:
        LOG.warning("can't tell whether store %r has an object of image %s: %s", store_id, image_id, error)
        return
    if location is not None:
        rollback.push(store_id, location.url, lambda: _delete_if_ours(site, location, verified))


async def _delete_if_ours(site: Site, location: Location, verified: Content) -> None:
    """Delete an object under the image's name if it is the very stream that was about to be committed."""
    store, limits = site.store(location.store_id), site.limits
    if (await store.stat(location)).size != verified.size or not verified.os_hash_algo:
        return
    found = await examine(store.open_reader(location), [verified.os_hash_algo], limits.slot_size, limits)
    if found.digests[verified.os_hash_algo] == verified.os_hash_value:
        await store.delete(location)


async def _finish_delete(site: Site, task: Task, image: Image) -> None:
    """A deletion that died may have removed data whose location is still recorded."""
    gone = [location for location in image.locations if await _is_gone(site, location)]
    if gone and len(gone) == len(image.locations):
        await threads.call(site.catalogue.delete_image, image.image_id, task)
        return
    for location in gone:
        await threads.call(site.catalogue.remove_location, task, location)


async def _is_gone(site: Site, location: Location) -> bool:
    try:
        await site.store(location.store_id).stat(location)
    except NotFound:
        return True
    except GlanceStreamError as error:
        LOG.warning("%s", error)
    return False


async def _remove(site: Site, recorded: RecordedLeftover) -> bool:
    """Whether the leftover is gone now and forgotten."""
    try:
        if not await _is_in_use(site, recorded):
            await _remove_from_store(site, recorded.leftover)
    except NotFound:
        pass
    except GlanceStreamError as error:
        LOG.warning("leftover of image %s: %s", recorded.image_id, error)
        return False
    await threads.call(site.catalogue.remove_leftover, recorded.number)
    return True


async def _is_in_use(site: Site, recorded: RecordedLeftover) -> bool:
    """Whether the image has meanwhile been given, in due form, the very object that was once left over."""
    try:
        image = await site.image(recorded.image_id)
    except ImageNotFound:
        return False
    return any(location.url == recorded.leftover.trace for location in image.locations)


async def _remove_from_store(site: Site, leftover: Leftover) -> None:
    store = site.store(leftover.store_id)
    if store.owns(leftover.trace):
        await store.delete(Location(leftover.trace, leftover.store_id))
    else:
        await store.discard(leftover.trace)
