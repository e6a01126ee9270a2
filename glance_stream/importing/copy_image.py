"""copy-image: bytes that are in one store go to more stores, unchanged and checked while they go.

No decoding and no plugins (bug 1885725), no staging to trust (bug 1885003). A location that is missing, unreadable or does not
give the recorded bytes is passed over for the next one; Glance does so for a missing one only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from glance_stream.catalogue import Operation
from glance_stream.errors import (
    DigestMismatch,
    EmptyImage,
    GlanceStreamError,
    InvalidRequest,
    LimitExceeded,
    SourceError,
    StoreError,
)
from glance_stream.importing.choosing import choose_stores
from glance_stream.importing.lease import Lease
from glance_stream.importing.left import Left
from glance_stream.importing.locking import locked
from glance_stream.importing.outcome import Outcome, read_back
from glance_stream.importing.recording import CatalogueRecorder
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location, Status
from glance_stream.transfer import Expectation, Observer, Transferred, TransferRequest, transfer

LOG = logging.getLogger(__name__)

NOTHING_TO_DO = "every store has the image already"

# What speaks against the location that is read and not against the stores written to.
BAD_SOURCE = (SourceError, DigestMismatch, EmptyImage, LimitExceeded, StoreError)


async def copy_image(
    site: Site,
    image_id: str,
    *,
    stores: Sequence[str] | None = None,
    all_stores: bool = False,
    all_stores_must_succeed: bool = True,
    source_store: str | None = None,
    restart: bool = False,
    observer: Observer | None = None,
) -> Outcome:
    """Copy an active image to more stores. ``source_store``: read from this one only.

    ``restart``: write all anew, also where an interrupted copy has left something to go on with.

    Raises InvalidRequest with nothing changed; ImageLocked; SourceError when no location gives the image; ImportFailed. The
    image stays active and keeps the locations it had. With all_stores, stores that hold the image are passed over; if none is
    left, nothing is done.
    """
    if not isinstance(all_stores_must_succeed, bool):
        raise InvalidRequest("all_stores_must_succeed must be boolean value only")
    if stores is None and not all_stores:
        raise InvalidRequest("name the stores to copy to, or all stores")
    image = await site.image(image_id)
    chosen = await choose_stores(site, stores, all_stores)
    if not _targets(image, chosen.stores, all_stores):
        return Outcome(image, notes=(*chosen.notes, NOTHING_TO_DO))
    _sources(site, image, source_store)  # refused before the lock is taken
    async with locked(site, image_id, Operation.COPY, () if restart else chosen.stores) as lease:
        image = await site.image(image_id)  # as it is now that nobody else may change it
        targets = _targets(image, chosen.stores, all_stores)
        if not targets:
            return Outcome(image, notes=(*lease.notes, *chosen.notes, NOTHING_TO_DO))
        sources = _sources(site, image, source_store)
        done, notes = await _copy(site, lease, image, targets, sources, not all_stores_must_succeed, lease.observer(observer))
    image = await read_back(site, replace(image, locations=(*image.locations, *done.locations.values())))
    return Outcome(image, done.failures, done.leftovers, lease.notes + chosen.notes + notes)


def _targets(image: Image, chosen: Sequence[str], all_stores: bool) -> list[str]:
    if image.status is not Status.ACTIVE:
        raise InvalidRequest(f"image {image.image_id} is {image.status}; only an active image can be copied")
    present = [store_id for store_id in chosen if store_id in image.stores]
    if present and not all_stores:
        raise InvalidRequest(f"Image is already present at store '{present[0]}'")
    return [store_id for store_id in chosen if store_id not in present]


def _sources(site: Site, image: Image, wanted: str | None) -> list[Location]:
    """The locations to read: the default store's first, then by the weights of their stores, the highest first."""
    if wanted is not None:
        site.store(wanted)
        if wanted not in image.stores:
            raise InvalidRequest(f"image {image.image_id} is not in store {wanted!r}; it is in {', '.join(image.stores)}")
        return [location for location in image.locations if location.store_id == wanted]
    known = [location for location in image.locations if location.store_id in site.stores]
    if not known:
        raise InvalidRequest(f"image {image.image_id} is in no store of this site; it is in {', '.join(image.stores)}")
    return sorted(known, key=lambda one: (one.store_id != site.default_store, -site.weights.get(one.store_id, 0)))


async def _copy(
    site: Site,
    lease: Lease,
    image: Image,
    targets: Sequence[str],
    sources: Sequence[Location],
    best_effort: bool,
    observer: Observer | None,
) -> tuple[Transferred, tuple[str, ...]]:
    recorder = CatalogueRecorder(site.catalogue, lease, best_effort=best_effort)
    async with recorder.operation(targets, importing=False):
        return await _from_first_good(site, image, targets, sources, best_effort, recorder, observer, lease.left)


async def _from_first_good(
    site: Site,
    image: Image,
    targets: Sequence[str],
    sources: Sequence[Location],
    best_effort: bool,
    recorder: CatalogueRecorder,
    observer: Observer | None,
    left: Left,
) -> tuple[Transferred, tuple[str, ...]]:
    """Try one location after the other. Raises SourceError when none is good."""
    refused: dict[str, GlanceStreamError] = {}
    resume = left.traces
    for location in sources:
        try:
            request = TransferRequest(
                image_id=image.image_id,
                source=site.store(location.store_id).open_reader(location),
                stores=[site.store(store_id) for store_id in targets],
                hash_algo=image.os_hash_algo or site.hash_algo,
                md5=image.checksum is not None and image.os_hash_value is None,
                decompress="never",
                expected=_recorded_digests(image),
                expected_size=image.size,
                best_effort=best_effort,
                resume=resume,
                beginning=left.beginning,
                limits=site.limits,
            )
            resume = {}  # what is refused from here on has been rolled back
            done = await transfer(request, recorder, observer)
            return done, (*(f"passed over {store_id}: {error}" for store_id, error in refused.items()), *done.notes)
        except BAD_SOURCE as error:
            LOG.warning("can't copy image %s from store %r: %s", image.image_id, location.store_id, error)
            refused[location.store_id] = error
            if error.leftovers:
                raise
    raise SourceError(
        _on_lines(f"image {image.image_id} can't be read:", [f"from {store_id}: {error}" for store_id, error in refused.items()])
    )


def _on_lines(what: str, reasons: Sequence[str]) -> str:
    """Each of several reasons on a line of its own: they are long."""
    return f"{what} {reasons[0]}" if len(reasons) == 1 else "\n  ".join([what, *reasons])


def _recorded_digests(image: Image) -> list[Expectation]:
    if image.os_hash_algo and image.os_hash_value:
        return [Expectation(image.os_hash_algo, image.os_hash_value)]
    return [Expectation("md5", image.checksum)] if image.checksum else []
