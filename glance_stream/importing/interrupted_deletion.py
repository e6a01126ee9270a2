"""A deletion whose process died: what it had come to is recorded, and nothing more is deleted."""

from __future__ import annotations

from collections.abc import Sequence

from glance_stream import threads
from glance_stream.catalogue import Deletion, Task
from glance_stream.errors import NotFound
from glance_stream.importing.asking import ask_stat
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location


async def find_gone(site: Site, deletion: Deletion) -> list[Location]:
    """Which of the locations that were about to be deleted are. Raises GlanceStreamError when a store does not tell.

    One that the site has no more will never tell: its data counts as there, and verify says what it is worth once it is back.
    """
    gone = []
    for location in deletion.locations:
        if location.store_id not in site.stores:
            continue
        try:
            await ask_stat(site, location)
        except NotFound:
            gone.append(location)
    return gone


async def finish_deletion(site: Site, task: Task, image: Image, deletion: Deletion, gone: Sequence[Location]) -> None:
    """Record what was deleted, and of what was meant nothing more: data that is still there stays.

    A location that the deletion had not come to is not looked at: that its data can't be found need not be our doing.
    """
    left = [location for location in image.locations if location not in gone]
    if deletion.whole_image and not left:
        await threads.call(site.catalogue.delete_image, image.image_id, task)
        return
    for location in deletion.locations:
        dropped = left and location in gone and location in image.locations
        await threads.call(site.catalogue.remove_location if dropped else site.catalogue.kept, task, location)
