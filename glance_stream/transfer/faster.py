"""Somebody was faster: at the commit an object is there that was not when the writer was opened. It may be the same image.

The stream has gone by, so the object is read once more and its digest is compared with that of the stream.
"""

from __future__ import annotations

from dataclasses import replace

from glance_stream.errors import Duplicate, NotFound, SourceError
from glance_stream.model import Location
from glance_stream.stores.base import Store
from glance_stream.transfer.adopting import find_taken, occupied, require_still_there, unreadable
from glance_stream.transfer.examine import examine
from glance_stream.transfer.request import Limits, Verified


async def adopt_faster(store: Store, image_id: str, taken: Duplicate, verified: Verified, limits: Limits) -> Location:
    """Where the object is, if it is the image that was verified. Raises Duplicate, StoreError."""
    location = await find_taken(store, image_id, taken)
    reading = replace(limits, source_timeout=limits.store_timeout)
    try:
        held = await examine(store.open_reader(location), [verified.os_hash_algo], limits.slot_size, reading)
    except NotFound as error:
        raise occupied(taken, f"it can't be read as one: {error.args[0]}") from error
    except SourceError as error:
        raise unreadable(store, error) from error
    if held.size != verified.size:
        raise occupied(taken, f"it has {held.size} bytes and not {verified.size}")
    if held.digests[verified.os_hash_algo] != verified.os_hash_value:
        raise occupied(taken, f"its {verified.os_hash_algo} differs")
    await store.make_durable(location)
    await require_still_there(store, location, verified.size, taken)
    return location
