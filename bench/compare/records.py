"""The records that one import makes, in its order and with its transactions, and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from functools import partial

from glance_stream.catalogue import Lock, Operation, Task
from glance_stream.importing import Site
from glance_stream.importing.lease import hold
from glance_stream.importing.recording import CatalogueRecorder
from glance_stream.model import Fingerprints, Location
from glance_stream.transfer import Transferred
from glance_stream.transfer.request import Verified

SLOT = 4 << 20


async def record(site: Site, size: int) -> str:
    """An image of so many bytes appears in all stores of the site; its id."""
    image_id = str(uuid.uuid4())
    stores = list(site.stores)
    async with hold(site.catalogue, partial(_created, site, image_id, stores), has_begun=True) as lease:
        recorder = CatalogueRecorder(site.catalogue, lease, best_effort=False)
        async with recorder.operation(stores, importing=True):
            await _record(recorder, site, image_id, size)
    return image_id


def _created(site: Site, image_id: str, stores: Sequence[str]) -> Lock:
    task = Task.here(image_id, Operation.IMPORT)
    _, lock = site.catalogue.create_and_begin(image_id, task, stores, name=None, disk_format="raw", container_format="bare")
    return lock


async def _record(recorder: CatalogueRecorder, site: Site, image_id: str, size: int) -> None:
    locations = {store_id: Location(f"file:///{store_id}/{image_id}", store_id) for store_id in site.stores}
    digest = "0" * 128
    verified = Verified(size, "sha512", digest, None, {"sha512": digest}, Fingerprints(SLOT, bytes(16)), None)
    await recorder.opened({store_id: f"file:///{store_id}/.{image_id}.part" for store_id in locations})
    for store_id in locations:
        await recorder.flushed(store_id)
    await recorder.verified(verified)
    await asyncio.gather(*map(recorder.committed, locations.values()))  # as stores do that are equally fast
    await recorder.finished(Transferred(verified, locations, {}))
