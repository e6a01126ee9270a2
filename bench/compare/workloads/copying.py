"""An image that is in one file store goes to two more, by the product's own copy: records, lock and all.

What it is measured against has no records. They cost milliseconds, and nobody copies an image without them.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from compare.floor import of_floor
from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.parts.digest import digest
from compare.parts.reading import reading
from compare.parts.writers import writers
from compare.result import Sample
from compare.site import open_site
from compare.workload import Workload
from glance_stream import loop
from glance_stream.importing import ImportRequest, Site, copy_image, import_image
from glance_stream.sources import PathSource

COPIES = 2


def workloads() -> list[Workload]:
    ours = Job("ours-copy", f"glance-stream, copy to {COPIES} stores", "ours", "", run_copy, ("random",))
    parts = [reading(), digest("sha512"), *writers(COPIES)]
    return [Workload("copy", f"copy from a file store to {COPIES} more, sha512", [ours, *parts], of_floor(0.90))]


def run_copy(ground: Ground) -> Sample:
    wanted = ground.digest("random", "sha512")
    stores = ground.stores(1 + COPIES)
    sample, found = loop.run(_timed(ground, stores))
    require(found, wanted, "sha512")
    for store in stores:
        require([path.stat().st_size for path in store.iterdir()], [ground.size], f"sizes in {store}")
    return sample


async def _timed(ground: Ground, stores: list[Path]) -> tuple[Sample, str]:
    site = open_site(ground.work(), stores)
    try:
        image_id = await _image(site, ground.source("random"), stores[0])
        watch = Watch()
        done = await copy_image(site, image_id, stores=list(site.stores)[1:])
        return watch.read(), done.image.os_hash_value or ""
    finally:
        await site.close()


async def _image(site: Site, source: Path, store: Path) -> str:
    """An image in the first store, without the writing of one, which the disk would feel for a while: what is there is adopted."""
    image_id = str(uuid.uuid4())
    os.link(source, store / image_id)
    await import_image(site, ImportRequest(PathSource(source), image_id=image_id, disk_format="raw"))
    return image_id
