"""A store that has an object under the image's name already: if it is the image, byte for byte, the store has the image.

Nothing is written then, nothing is ever removed, and whatever differs is left as it is. The object is read beside the stream, in
the same pass and without a digest of its own. It is somebody else's: another site's, Glance's, or that of an import of which no
record is left. Who made it may still take it away again, as a rollback does, and nobody can be asked; so it is looked at once more
at the commit, and an object that changes while it is compared is none that can be adopted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from glance_stream import threads
from glance_stream.chunker import Lane, Slot
from glance_stream.errors import Duplicate, GlanceStreamError, NotFound, SourceError, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import Store, Writer
from glance_stream.transfer.intake import fill, open_source
from glance_stream.transfer.request import Limits

WAY_OUT = (
    "it is never overwritten: delete it with the store's own client if nobody needs it, or take another image id "
    "(if an import of ours may have left it, 'recover' comes first)"
)


class AdoptingWriter(Writer):
    """Compares the stream with the object that is there, and says at the commit that the image is stored.

    ``taken``: what the store said when it was to create the object. ``size``: bytes that the image must have, as far as known.
    ``forgiving``: the stream is still to be checked against digests that are expected of it, and what differs may be the stream's
    fault; so a difference is told at the flush and not at once.
    """

    def __init__(self, store: Store, image_id: str, taken: Duplicate, limits: Limits, *, size: int | None, forgiving: bool) -> None:
        self.trace = ""
        self._store = store
        self._image_id = image_id
        self._taken = taken
        self._limits = limits
        self._size = size
        self._forgiving = forgiving
        self._location: Location | None = None
        self._source: Source | None = None
        self._reading = threading.Lock()  # held by the thread that reads, which closes the source itself
        self._buffer = bytearray()
        self._compared = 0
        self._differs = ""

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        self._location = await find_taken(self._store, self._image_id, self._taken)
        source = self._store.open_reader(self._location)
        self._source = source
        try:
            info, _ = await open_source(source, 0, self._limits.store_timeout)
        except NotFound as error:  # as an RBD image without its snapshot: not finished, or not an image
            raise occupied(self._taken, f"it can't be read as one: {error.args[0]}") from error
        except SourceError as error:
            raise unreadable(self._store, error) from error
        if None not in (self._size, info.size) and info.size != self._size:
            raise occupied(self._taken, f"it has {info.size} bytes and not {self._size}")

    def drain(self, lane: Lane) -> None:
        """Raises Duplicate, StoreError. Also a stream that differs is taken to its end, lest the lane seem to be stuck."""
        assert self._source is not None, "not open"
        with self._reading:
            try:
                for slot in lane:
                    if not self._differs:
                        self._compare(slot)
                if not self._differs:
                    self._end()
            except SourceError as error:
                raise unreadable(self._store, error) from error
            finally:
                self._source.close()

    def write(self, view: memoryview) -> None:
        raise StoreError(self._store.store_id, "what is compared is not written")

    async def flush(self, size: int) -> None:
        if self._differs:
            raise occupied(self._taken, self._differs)
        if self._compared != size:
            raise StoreError(self._store.store_id, f"{self._compared} bytes were compared, not {size}")
        assert self._location is not None
        await self._store.make_durable(self._location)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        assert self._location is not None
        await require_still_there(self._store, self._location, size, self._taken)
        return self._location

    async def published(self) -> Location | None:
        """Nothing of ours."""
        return None

    async def abort(self) -> None:
        source = self._source
        if source is None:
            return
        source.interrupt()
        if self._reading.acquire(blocking=False):
            try:
                await threads.call(source.close)
            finally:
                self._reading.release()

    def _compare(self, slot: Slot) -> None:
        """A bytearray compares itself with a view as memcmp does; two views compare item by item."""
        if len(self._buffer) != slot.length:
            self._buffer = bytearray(slot.length)
        if self._read(self._buffer) < slot.length:
            self._differ(f"it ends before byte {slot.offset + slot.length}")
            return
        with slot.view as view:
            if self._buffer != view:
                self._differ(f"it differs between byte {slot.offset} and {slot.offset + slot.length}")
        self._compared += slot.length

    def _end(self) -> None:
        assert self._source is not None
        if self._read(bytearray(1)):
            self._differ(f"it has more than {self._compared} bytes")
        self._source.verify_unchanged()

    def _read(self, buffer: bytearray) -> int:
        assert self._source is not None
        with memoryview(buffer) as view:
            return fill(self._source.readinto, view)

    def _differ(self, how: str) -> None:
        self._differs = how
        if not self._forgiving:
            raise occupied(self._taken, how)


async def find_taken(store: Store, image_id: str, taken: Duplicate) -> Location:
    """The object in the way. Raises Duplicate where the store has none to read: what is in the way is no whole object."""
    location = await store.find(image_id)
    if location is None:
        raise occupied(taken, "it is no object that can be read, or it is gone again")
    return location


def occupied(taken: Duplicate, why: str) -> Duplicate:
    """The refusal, with its reason and what can be done."""
    return Duplicate(taken.store_id, f"{taken.args[0]}, and is not this image: {why}; {WAY_OUT}")


async def require_still_there(store: Store, location: Location, size: int, taken: Duplicate) -> None:
    """Asked at the last moment. Raises Duplicate, StoreError."""
    try:
        stat = await store.stat(location)
    except NotFound as error:
        raise StoreUnavailable(
            store.store_id, f"{location.url} was there, equal to the image, and is gone again: try again"
        ) from error
    if stat.size != size:
        raise occupied(taken, f"it has {stat.size} bytes by now and not {size}")


def unreadable(store: Store, error: GlanceStreamError) -> StoreUnavailable:
    """Whether the object is the image can't be told now."""
    return StoreUnavailable(store.store_id, f"an object is there already that can't be compared with the image: {error}")
