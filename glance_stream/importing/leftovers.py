"""Removing at last what a rollback could not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

from glance_stream import threads
from glance_stream.catalogue import Operation, RecordedLeftover
from glance_stream.errors import GlanceStreamError, ImageLocked, ImageNotFound, Leftover, NotFound, StoreError, StoreUnavailable
from glance_stream.importing.asking import ask
from glance_stream.importing.lease import Lease
from glance_stream.importing.locking import locked
from glance_stream.importing.objects import delete_object, find_object, holds
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location
from glance_stream.rollback import IN_DOUBT

LOG = logging.getLogger(__name__)


async def remove_leftover(site: Site, recorded: RecordedLeftover) -> Leftover | None:
    """The leftover if it is still there, with the reason of today; None when it is gone and forgotten."""
    left = recorded.leftover
    in_doubt = left.reason.startswith(IN_DOUBT)
    try:
        store = site.store(left.store_id)
        async with _held(site, recorded.image_id) as (image, lease):
            if store.owns(left.trace):
                await _remove_object(site, left, image)
            else:
                await _require_reachable(site, recorded)
                await ask(left.store_id, store.discard(left.trace), site.limits.undo_timeout)
                if in_doubt:
                    await _settle_doubt(site, recorded, image, lease)
    except NotFound:
        pass
    except ImageLocked as error:  # which says nothing of the leftover
        LOG.warning("leftover of image %s: %s", recorded.image_id, error)
        return left
    except GlanceStreamError as error:
        LOG.warning("leftover of image %s: %s", recorded.image_id, error)
        still = replace(left, reason=f"{IN_DOUBT}: {error}" if in_doubt else str(error))
        if still != left:
            await threads.call(site.catalogue.record_leftovers, recorded.image_id, [still])
        return still
    await threads.call(site.catalogue.remove_leftover, recorded.number)
    return None


async def _require_reachable(site: Site, recorded: RecordedLeftover) -> None:
    """Raises StoreUnavailable. In a directory that is not there, as of a disk that is not mounted, nothing is left; but it was."""
    try:
        await find_object(site, recorded.leftover.store_id, recorded.image_id)
    except StoreUnavailable:
        raise
    except StoreError as error:
        LOG.info("%s", error)  # it answers, and what it says of the object is not what was asked


async def _remove_object(site: Site, left: Leftover, image: Image | None) -> None:
    """Unless the image has meanwhile been given, in due form, the very object that was once left over."""
    if image is None or all(location.url != left.trace for location in image.locations):
        await delete_object(site, Location(left.trace, left.store_id))


async def _settle_doubt(site: Site, recorded: RecordedLeftover, image: Image | None, lease: Lease | None) -> None:
    """A commit may have taken effect that nobody recorded. Raises StoreError where that can't be told.

    Deleted is what bears the writer's mark. Where objects bear none, only what is known to be one copy too many: it equals what the
    image records, which is the stream that was being committed, and a recorded location was read and equals it too. After a failed
    import nothing is known of the stream any more; then the object may be somebody's only copy and is left to the operator.
    """
    left = recorded.leftover
    store = site.store(left.store_id)
    if store.traits.marked:
        found = await ask(left.store_id, store.published(left.trace), site.limits.undo_timeout)
    else:
        found = await find_object(site, left.store_id, recorded.image_id)
    if found is None or (image is not None and any(location.url == found.url for location in image.locations)):
        return
    if not store.traits.marked:
        await _require_spare(site, image, lease, found)
    if lease is not None:
        await lease.require()
    await delete_object(site, found)


async def _require_spare(site: Site, image: Image | None, lease: Lease | None, found: Location) -> None:
    if image is None or lease is None or not await holds(site, found, image, lease.observer()):
        raise StoreError(found.store_id, f"{found.url} is there, and no record tells whether it is ours: left alone")
    if not await _has_good_location(site, image, lease):
        raise StoreError(found.store_id, f"{found.url} may be the only good copy of the image: left alone")


async def _has_good_location(site: Site, image: Image, lease: Lease) -> bool:
    for location in image.locations:
        try:
            if await holds(site, location, image, lease.observer()):
                return True
        except GlanceStreamError as error:
            LOG.warning("%s", error)
    return False


@asynccontextmanager
async def _held(site: Site, image_id: str) -> AsyncIterator[tuple[Image | None, Lease | None]]:
    """The image under its lock: an object that another operation has just committed looks like a leftover.

    So do uploads that are under way, where they are known by image and time alone (S3).

    Neither for an image without a record, which nobody works on. Raises ImageLocked.
    """
    async with AsyncExitStack() as stack:
        image = lease = None
        with suppress(ImageNotFound):
            lease = await stack.enter_async_context(locked(site, image_id, Operation.RECOVER))
            image = await site.image(image_id)
        yield image, lease
