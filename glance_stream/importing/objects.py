"""Asking the stores about an image's objects, outside of a transfer and each within its time."""

from __future__ import annotations

from glance_stream.catalogue import Content
from glance_stream.chunker import DigestRefused
from glance_stream.errors import NotFound, StoreError
from glance_stream.importing.asking import ask, ask_stat
from glance_stream.importing.site import Site
from glance_stream.model import Image, Location
from glance_stream.transfer import Observer, examine


async def find_object(site: Site, store_id: str, image_id: str) -> Location | None:
    """Where the store has an object under the image's name, whoever wrote it."""
    return await ask(store_id, site.store(store_id).find(image_id), site.limits.undo_timeout)


async def delete_object(site: Site, location: Location) -> None:
    """Raises NotFound, StoreError."""
    await ask(location.store_id, site.store(location.store_id).delete(location), site.limits.undo_timeout)


async def holds(site: Site, location: Location, content: Content | Image, observer: Observer | None = None) -> bool:
    """Whether the object is this very content: it is read. What has no digest on record is not known to be."""
    algorithm, value, limits = content.os_hash_algo, content.os_hash_value, site.limits
    if not algorithm or not value:
        return False
    try:
        if (await ask_stat(site, location)).size != content.size:
            return False
        source = site.store(location.store_id).open_reader(location)
        found = await examine(source, [algorithm], limits.slot_size, limits, observer)
    except NotFound:
        return False
    except DigestRefused as error:
        raise StoreError(location.store_id, f"{location.url} can't be compared: {error}") from error
    return found.digests[algorithm] == value
