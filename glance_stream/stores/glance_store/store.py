"""Any driver of an installed glance_store as a store: cinder, vmware, those of third parties, and its own file, rbd, s3 and swift.

A driver pulls an image out of a file-like object in one call that names, writes and publishes it at once; our writer turns
that round. What a driver can't do, this store can't:

* Most drivers write under the final name. There is something to see before the commit then (``Traits.atomic_commit`` is false),
  though it is never complete: the last byte is held back until then.
* Nothing is known to be durable before the commit; after it, as far as the driver sees to that. The filesystem driver does not.
* What a process that died has left is found by its name. The rbd driver's is removed. The s3 and swift drivers leave nothing to
  see, but uploads and segments that glance_store itself forgets; our own stores of those types don't. Of any other driver's
  object nobody can tell whether it is complete: `discard` refuses to remove it, and says where it is.

Memory: one byte, and what the driver buffers: a chunk for most, for s3 an object below ``s3_store_large_object_size`` and, above
it, all parts that wait for the network. A driver always computes md5; sha256 is asked for beside it, the cheapest where the
processor has instructions for it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec

from glance_stream import threads
from glance_stream.errors import Duplicate, StoreError, StoreReadOnly
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import SAFE_NAME, ObjectStat, Store, Stray, Traits, Writer, require_safe_name
from glance_stream.stores.glance_store.backend import Backend
from glance_stream.stores.glance_store.places import without_credentials
from glance_stream.stores.glance_store.source import StoredImage
from glance_stream.stores.glance_store.writer import GlanceStoreWriter

CLOSING = 5.0  # seconds for a driver to let its threads go


class GlanceStoreOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "glance_store"`` store.

    ``driver``: the name of its entry point, as in Glance's ``enabled_backends``. ``options``: what glance-api.conf has in the
    store's section, each value as it stands: no ``$name`` is replaced.
    """

    driver: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class GlanceStoreStore(Store):
    """One backend of glance_store, with a configuration and a driver of its own."""

    type = "glance_store"

    def __init__(self, store_id: str, driver: str, options: Mapping[str, Any], *, read_only: bool = False) -> None:
        """Imports the driver and connects to nothing. Raises InvalidRequest."""
        self.store_id = store_id
        self._backend = Backend(store_id, driver, options, read_only=read_only)
        self.traits = Traits(
            read_only=self._backend.drivers.read_only,
            needs_size=self._backend.holds_unknown_sizes,
            atomic_commit=self._backend.sees_complete_only,
        )
        self._writers: dict[str, GlanceStoreWriter] = {}  # by image id: those that have begun and not ended

    @classmethod
    def from_options(cls, store_id: str, options: GlanceStoreOptions, *, read_only: bool = False) -> GlanceStoreStore:
        return cls(store_id, options.driver, options.options, read_only=read_only)

    @classmethod
    def from_section(cls, store_id: str, driver: str, section: Mapping[str, Any], *, read_only: bool = False) -> GlanceStoreStore:
        """From a section of a parsed configuration, ``conf[store_id]``: what is None there is not set."""
        return cls(store_id, driver, {name: value for name, value in section.items() if value is not None}, read_only=read_only)

    @property
    def where(self) -> str:
        """The driver's name, and its place once it is configured."""
        return self._backend.where

    async def open(self) -> None:
        await threads.call(self._backend.drivers.get)

    def writer(self, image_id: str) -> Writer:
        self._require_writable()
        require_safe_name(image_id)
        return GlanceStoreWriter(self._backend, self, image_id, f"{self._trace_prefix}{image_id}?writer={secrets.token_hex(8)}")

    def begin(self, writer: GlanceStoreWriter) -> None:
        """One writer of an image at a time: two would write the same object. Raises Duplicate."""
        if self._writers.setdefault(writer.image_id, writer) is not writer:
            raise Duplicate(self.store_id, f"{writer.image_id} is being written")

    def end(self, writer: GlanceStoreWriter) -> None:
        """The name is free for the next."""
        if self._writers.get(writer.image_id) is writer:
            del self._writers[writer.image_id]

    def open_reader(self, location: Location) -> Source:
        return StoredImage(self._backend, self._backend.own(location))

    async def stat(self, location: Location) -> ObjectStat:
        return ObjectStat(size=await threads.call(self._backend.size, self._backend.own(location)))

    async def delete(self, location: Location) -> None:
        self._require_writable()
        await threads.call(self._backend.delete, self._backend.own(location))

    async def discard(self, trace: str) -> None:
        """What can't be told from a committed object stays: that raises StoreError, and somebody has to look."""
        found = re.fullmatch(rf"{re.escape(self._trace_prefix)}({SAFE_NAME.pattern})\?writer=[0-9a-f]{{16}}", trace)
        if not found:
            raise StoreError(self.store_id, f"not a trace of this store: {trace}")
        writer = self._writers.get(found[1])
        if writer is None:
            await threads.call(self._backend.discard, found[1])
        elif writer.trace == trace:
            await writer.abort()  # else another has begun, who found nothing left

    async def strays(self) -> list[Stray]:
        """None: a driver does not list what it has."""
        return []

    async def find(self, image_id: str) -> Location | None:
        """None also where the driver's names can't be foretold (cinder), and of what this process is writing."""
        require_safe_name(image_id)
        url = None if image_id in self._writers else await threads.call(self._backend.find, image_id)
        return None if url is None else Location(without_credentials(url), self.store_id)

    def owns(self, url: str) -> bool:
        """A driver that has to connect before it knows its place (rbd) may hold up the first calls, for 10 s in all.

        While it is still at it after that, nothing is its own.
        """
        try:
            return self._backend.within(url) is not None
        except StoreError:
            return False

    async def close(self) -> None:
        """Waits for no driver that is being configured, nor long for one that ends: what hangs dies with the process."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await threads.call(self._backend.drivers.close)

    @property
    def _trace_prefix(self) -> str:
        return f"glance-store://{quote(self.store_id, '')}/{quote(self._backend.name, '')}/"

    def _require_writable(self) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
