"""The records that one import makes, in its order and with its transactions, and nothing else."""

from __future__ import annotations

import uuid

from glance_stream import threads
from glance_stream.catalogue import Operation
from glance_stream.importing import Site
from glance_stream.importing.locking import locked
from glance_stream.importing.outcome import read_back
from glance_stream.importing.recording import CatalogueRecorder
from glance_stream.model import Fingerprints, Location
from glance_stream.transfer import Transferred
from glance_stream.transfer.request import Verified

SLOT = 4 << 20


async def record(site: Site, size: int) -> str:
    """An image of so many bytes appears in all stores of the site; its id."""
    image_id = str(uuid.uuid4())
    image = await threads.call(site.catalogue.create_image, image_id, name=None, disk_format="raw", container_format="bare")
    async with locked(site, image_id, Operation.IMPORT) as lease:
        recorder = CatalogueRecorder(site.catalogue, lease, best_effort=False)
        async with recorder.operation(list(site.stores), importing=True):
            await _record(recorder, site, image_id, size)
    await read_back(site, image)
    return image_id


async def _record(recorder: CatalogueRecorder, site: Site, image_id: str, size: int) -> None:
    locations = {store_id: Location(f"file:///{store_id}/{image_id}", store_id) for store_id in site.stores}
    digest = "0" * 128
    verified = Verified(size, "sha512", digest, None, {"sha512": digest}, Fingerprints(SLOT, bytes(16)), None)
    for store_id in locations:
        await recorder.opened(store_id, f"file:///{store_id}/.{image_id}.part")
    for store_id in locations:
        await recorder.flushed(store_id)
    await recorder.verified(verified)
    for location in locations.values():
        await recorder.committed(location)
    await recorder.finished(Transferred(verified, locations, {}))
