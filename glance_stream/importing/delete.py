"""Deleting an image from one store (Glance API 2.10, ``DELETE /v2/stores/{store}/{image}``) and deleting it altogether.

One copy is one unit, which a cancellation does not cut: what is meant goes to the journal, the data goes from the store, the
location from the record. So a location is dropped when its data is gone, whatever the store said of the deletion, and a process
that dies leaves behind what `recover` needs to finish just that.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from glance_stream import threads
from glance_stream.catalogue import Operation, Task
from glance_stream.errors import (
    EXIT_FAILED,
    CatalogueError,
    GlanceStreamError,
    InvalidRequest,
    NotFound,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from glance_stream.importing.asking import ask, ask_stat
from glance_stream.importing.lease import Lease
from glance_stream.importing.locking import locked
from glance_stream.importing.outcome import Outcome, read_back
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location, Status

LOG = logging.getLogger(__name__)

ALREADY_GONE = "already gone"
KEPT_BY_STORE = "forgotten, the data is still in the store"
UNKNOWN = "forgotten, the data is still there: this site has no such store"
ADVICE = "so the data can't be deleted; --forget drops the location alone"


async def delete_from_store(site: Site, image_id: str, store_id: str, *, forget: bool = False) -> Outcome:
    """Delete an active image's bytes from one store. A note tells when they were gone already.

    ``forget``: drop the location although the store can't delete (a read-only one); the data stays. Refused unless another copy
    is there, of the recorded size. Raises InvalidRequest, ImageLocked, StoreReadOnly, ObjectBusy, StoreError; the location is
    kept then.
    """
    site.store(store_id)
    _location_in(await site.image(image_id), store_id)
    async with locked(site, image_id, Operation.DELETE) as lease:
        image = await site.image(image_id)
        location = _location_in(image, store_id)
        await _require_other_copy(site, image, location)
        # Cancelled meanwhile or not: with the one copy the deletion is done.
        notes, _ = await _Deletion(site, lease, forget, whole_image=False).remove(location)
    others = tuple(other for other in image.locations if other != location)
    return Outcome(await read_back(site, replace(image, locations=others)), notes=lease.notes + notes)


async def delete_image(site: Site, image_id: str, *, forget: bool = False) -> Outcome:
    """Delete an image from every store and from the catalogue.

    ``forget``: drop the locations in stores that can't delete, or that the site does not have; the data stays. Without it they
    are refused before anything is deleted: InvalidRequest, StoreReadOnly. When a store fails, the image stays with the locations
    that could not be deleted; the error is raised, and tells which those are.
    """
    async with locked(site, image_id, Operation.DELETE) as lease:
        image = await site.image(image_id)
        for location in image.locations:
            _require_deletable(site, location, forget)
        notes = await _delete_everywhere(_Deletion(site, lease, forget, whole_image=True), image)
    return Outcome(image, notes=lease.notes + notes)


async def _delete_everywhere(deletion: _Deletion, image: Image) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    for number, location in enumerate(image.locations):
        last = number == len(image.locations) - 1
        try:
            told, cancelled = await deletion.remove(location, last=last)
        except GlanceStreamError as error:
            raise _after(image, number, error) from error
        notes += told
        if cancelled and not last:
            raise asyncio.CancelledError
    if not image.locations:
        await threads.to_its_end(deletion.drop_record())
    return notes


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


async def _require_other_copy(site: Site, image: Image, location: Location) -> None:
    """A record of another copy is not a copy: it must be there, of the recorded size, or this one may be the last good one."""
    missing: list[str] = []
    silent: list[GlanceStreamError] = []
    for other in image.locations:
        if other.url == location.url:
            continue
        try:
            size = (await ask_stat(site, other)).size
        except NotFound:
            missing.append(f"store {other.store_id!r} has none")
        except GlanceStreamError as error:
            silent.append(error)
        else:
            if size == image.size:
                return
            missing.append(f"the one in store {other.store_id!r} has {size} bytes and not {image.size}")
    reasons = "; ".join([*missing, *map(str, silent)])
    refusal = f"the copy in {location.store_id!r} may be the last good one: no other was found: {reasons}"
    if silent:
        raise StoreUnavailable(location.store_id, refusal)
    raise InvalidRequest(f"image {image.image_id}: {refusal}")


def _require_deletable(site: Site, location: Location, forget: bool) -> None:
    """Raises InvalidRequest, also for a store that its settings do not give; StoreReadOnly."""
    store_id = location.store_id
    if _is_known(site, location):
        if site.store(store_id).traits.read_only and not forget:
            raise StoreReadOnly(store_id, f"the store is read-only, {ADVICE}")
    elif not forget:
        raise InvalidRequest(f"{location.url} is in store {store_id!r}, which this site does not have, {ADVICE}")


def _is_known(site: Site, location: Location) -> bool:
    return bool(location.store_id) and location.store_id in site.stores


def _after(image: Image, number: int, error: GlanceStreamError) -> GlanceStreamError:
    """What the error of one location is once others are gone: a failure, and never a request that changed nothing."""
    if not number:
        return error
    gone = ", ".join(repr(location.store_id) for location in image.locations[:number])
    still = ", ".join(repr(location.store_id) for location in image.locations[number:])
    reason = error.args[0] if isinstance(error, StoreError) else str(error)
    message = f"{reason} (removed from {gone}; still recorded in {still})"
    if isinstance(error, StoreError) and error.exit_code == EXIT_FAILED:
        return type(error)(error.store_id, message)
    return StoreError(image.locations[number].store_id, message)


@dataclass(frozen=True)
class _Deletion:
    """One deletion under its lock. ``whole_image``: the record goes with the last location."""

    site: Site
    lease: Lease
    forget: bool
    whole_image: bool

    @property
    def task(self) -> Task:
        return self.lease.task

    async def remove(self, location: Location, *, last: bool = False) -> tuple[tuple[str, ...], bool]:
        """Notes, and whether this task was cancelled meanwhile. On an error the location is still recorded."""
        unit = asyncio.ensure_future(self._remove(location, last))
        cancelled = await threads.to_its_end(unit)
        return unit.result(), cancelled

    async def drop_record(self) -> None:
        await threads.call(self.site.catalogue.delete_image, self.task.image_id, self.task)

    async def _remove(self, location: Location, last: bool) -> tuple[str, ...]:
        notes = await self._remove_data(location)
        try:
            if last:  # an active image has a location, so the last one goes with the record
                await self.drop_record()
            else:
                await threads.call(self.site.catalogue.remove_location, self.task, location)
        except InvalidRequest as error:  # which would say that nothing was changed
            raise CatalogueError(f"{location.url} is deleted, and that could not be recorded: {error}") from error
        return notes

    async def _remove_data(self, location: Location) -> tuple[str, ...]:
        if not _is_known(self.site, location):
            return (f"{location.store_id or location.url}: {UNKNOWN}",)
        self.lease.enter(f"deleting from {location.store_id}")
        await threads.call(self.site.catalogue.deleting, self.task, location, whole_image=self.whole_image)
        try:
            deletion = self.site.store(location.store_id).delete(location)
            await ask(location.store_id, deletion, self.site.limits.store_timeout, late="deletion has not ended")
        except NotFound:
            return (f"{location.store_id}: {ALREADY_GONE}",)
        except GlanceStreamError as error:
            return (await self._settle(location, error),)
        return ()

    async def _settle(self, location: Location, error: GlanceStreamError) -> str:
        """A deletion failed: the note if the location may be dropped all the same. Raises the error if not."""
        read_only = isinstance(error, StoreReadOnly)
        if read_only and self.forget:
            return f"{location.store_id}: {KEPT_BY_STORE}"
        if await _is_gone(self.site, location):
            return f"{location.store_id}: deleted, although it failed: {error.args[0]}"
        await threads.call(self.site.catalogue.kept, self.task, location)
        raise StoreReadOnly(location.store_id, f"{error.args[0]}, {ADVICE}") if read_only else error


# -- asking stores ------------------------------------------------------------------------------------------------------------


async def _is_gone(site: Site, location: Location) -> bool:
    """Whether it is known to be."""
    try:
        await ask_stat(site, location)
    except NotFound:
        return True
    except GlanceStreamError as error:
        LOG.warning("can't tell whether %s is deleted, so it stays recorded: %s", location.url, error)
    return False
