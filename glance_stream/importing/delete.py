"""Deleting an image from one store (Glance API 2.10, ``DELETE /v2/stores/{store}/{image}``) and deleting it altogether."""

from __future__ import annotations

import asyncio

from glance_stream import threads
from glance_stream.catalogue import Operation
from glance_stream.errors import InvalidRequest, NotFound, StoreReadOnly, StoreTimeout
from glance_stream.importing.outcome import Outcome
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location, Status

ALREADY_GONE = "already gone"
KEPT_BY_STORE = "forgotten, the data is still in the store"


async def delete_from_store(site: Site, image_id: str, store_id: str, *, forget: bool = False) -> Outcome:
    """Delete an active image's bytes from one store. A note tells when they were gone already.

    ``forget``: drop the location although the store can't delete (a read-only one); the data stays. Refused for the last copy.
    Raises InvalidRequest, ImageLocked, StoreReadOnly, ObjectBusy, StoreError; the location is kept then.
    """
    site.store(store_id)
    _location_in(await site.image(image_id), store_id)
    async with site.locked(image_id, Operation.DELETE) as task:
        location = _location_in(await site.image(image_id), store_id)
        notes = await _remove_data(site, location, forget)
        # Its data is gone: the record of it goes too, whoever cancels meanwhile, and with that the deletion is done.
        await threads.to_its_end(threads.call(site.catalogue.remove_location, task, location))
    return Outcome(await site.image(image_id), notes=notes)


async def delete_image(site: Site, image_id: str, *, forget: bool = False) -> Outcome:
    """Delete an image from every store and from the catalogue.

    When a store refuses, the image stays with the locations that could not be deleted, and the store's error is raised.
    """
    async with site.locked(image_id, Operation.DELETE) as task:
        image = await site.image(image_id)
        notes: tuple[str, ...] = ()
        for number, location in enumerate(image.locations):
            notes += await _remove_data(site, location, forget)
            if number == len(image.locations) - 1:
                break  # the last one goes with the record: an active image has a location
            if await threads.to_its_end(threads.call(site.catalogue.remove_location, task, location)):
                raise asyncio.CancelledError
        await threads.to_its_end(threads.call(site.catalogue.delete_image, image_id, task))
    return Outcome(image, notes=notes)


def _location_in(image: Image, store_id: str) -> Location:
    """Refused in Glance's order: state, last copy, not there."""
    if image.status is not Status.ACTIVE:
        raise InvalidRequest(f"image {image.image_id} is {image.status}; only an active image can be deleted from a store")
    if len(image.locations) == 1:
        raise InvalidRequest(
            f"Cannot delete image data from the only store containing it: image {image.image_id} is only in "
            f"{image.locations[0].store_id!r}; delete the image as a whole, or copy it to another store first"
        )
    for location in image.locations:
        if location.store_id == store_id:
            return location
    raise InvalidRequest(f"image {image.image_id} is not in store {store_id!r}; it is in {', '.join(image.stores)}")


async def _remove_data(site: Site, location: Location, forget: bool) -> tuple[str, ...]:
    limit = site.limits.store_timeout
    try:
        async with asyncio.timeout(limit):
            await site.store(location.store_id).delete(location)
    except TimeoutError as error:
        raise StoreTimeout(location.store_id, f"deletion has not ended within {limit:g} s") from error
    except NotFound:
        return (f"{location.store_id}: {ALREADY_GONE}",)
    except StoreReadOnly as error:
        if not forget:
            raise StoreReadOnly(
                location.store_id, f"{error.args[0]}, so the data can't be deleted; --forget drops the location alone"
            ) from error
        return (f"{location.store_id}: {KEPT_BY_STORE}",)
    return ()
