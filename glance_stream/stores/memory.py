"""Images in memory: the reference implementation of the store contract, and a store for the tests of those who embed us."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

import msgspec

from glance_stream.errors import Duplicate, NotFound, ObjectBusy, StoreError, StoreFull, StoreReadOnly
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import SAFE_NAME, ObjectStat, Store, Stray, Traits, Writer, require_safe_name


class MemoryOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "memory"`` store, which forgets everything when the process ends. ``capacity``: bytes."""

    capacity: int | None = None


class MemoryStore(Store):
    """Holds each object as bytes. ``capacity`` limits all of them together; ids in ``busy`` can't be deleted."""

    type = "memory"

    def __init__(self, store_id: str, *, read_only: bool = False, capacity: int | None = None) -> None:
        self.store_id = store_id
        self.traits = Traits(read_only=read_only, marked=True, resumable=True)
        self.capacity = capacity
        self.objects: dict[str, bytes] = {}
        self.pending: dict[str, bytearray] = {}
        self.writers: dict[str, str] = {}  # image id -> trace of the writer that made the object
        self.busy: set[str] = set()

    @classmethod
    def from_options(cls, store_id: str, options: MemoryOptions, *, read_only: bool = False) -> MemoryStore:
        return cls(store_id, read_only=read_only, capacity=options.capacity)

    @property
    def where(self) -> str:
        return "the memory of this process"

    def writer(self, image_id: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        return MemoryWriter(self, image_id, f"{self._prefix}.{image_id}.{secrets.token_hex(8)}.part")

    def resume(self, image_id: str, trace: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        if not re.fullmatch(rf"{re.escape(self._prefix)}\.{re.escape(image_id)}\.[0-9a-f]{{16}}\.part", trace):
            raise StoreError(self.store_id, f"not a trace of image {image_id} in this store: {trace}")
        return MemoryWriter(self, image_id, trace, resumed=True)

    def check_room(self, more: int) -> None:
        """Raises StoreFull when ``more`` bytes do not fit."""
        held = sum(map(len, self.objects.values())) + sum(map(len, self.pending.values()))
        if self.capacity is not None and held + more > self.capacity:
            raise StoreFull(self.store_id, f"capacity is {self.capacity} bytes")

    def open_reader(self, location: Location) -> Source:
        return MemorySource(self, self._key(location))

    async def stat(self, location: Location) -> ObjectStat:
        return ObjectStat(size=len(self._object(location)))

    async def delete(self, location: Location) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        self._object(location)
        if self._key(location) in self.busy:
            raise ObjectBusy(self.store_id, "the object is in use")
        del self.objects[self._key(location)]

    async def discard(self, trace: str) -> None:
        if not re.fullmatch(rf"{re.escape(self._prefix)}\.[^/]+\.part", trace):
            raise StoreError(self.store_id, f"not a trace of this store: {trace}")
        self.pending.pop(trace, None)

    async def published(self, trace: str) -> Location | None:
        made = [image_id for image_id, writer in self.writers.items() if writer == trace and image_id in self.objects]
        return self.location(made[0]) if made else None

    async def strays(self) -> list[Stray]:
        """Their age is not known: 0."""
        return [
            Stray(trace, trace.removeprefix(f"{self._prefix}.").rsplit(".", 2)[0], 0.0, len(held))
            for trace, held in self.pending.items()
        ]

    async def find(self, image_id: str) -> Location | None:
        return self.location(image_id) if image_id in self.objects else None

    def location(self, image_id: str) -> Location:
        return Location(self._prefix + image_id, self.store_id)

    @property
    def _prefix(self) -> str:
        return f"memory://{self.store_id}/"

    async def places(self) -> frozenset[str]:
        return frozenset({f"memory {id(self)}"})

    def owns(self, url: str) -> bool:
        return url.startswith(self._prefix) and bool(SAFE_NAME.fullmatch(url.removeprefix(self._prefix)))

    def _key(self, location: Location) -> str:
        if not self.owns(location.url):
            raise StoreError(self.store_id, f"{location.url} is not in this store")
        return location.url.rpartition("/")[2]

    def _object(self, location: Location) -> bytes:
        try:
            return self.objects[self._key(location)]
        except KeyError:
            raise NotFound(self.store_id, f"{location.url} is not there") from None


class MemoryWriter(Writer):
    """Collects the bytes aside, under its trace."""

    def __init__(self, store: MemoryStore, image_id: str, trace: str, *, resumed: bool = False) -> None:
        self._store = store
        self._image_id = image_id
        self._begun = self._ended = False
        self._flushed: int | None = None
        self._resumed = resumed
        self._position = self._kept = 0
        self.trace = trace

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store.store_id, "a writer is opened once")
        self._begun = True
        await self._store.open()
        if self._image_id in self._store.objects:
            raise Duplicate(self._store.store_id, f"{self._image_id} is there already")
        if self._resumed and self.trace not in self._store.pending:
            raise NotFound(self._store.store_id, f"{self.trace} is not there")
        if size_hint is not None:
            self._store.check_room(size_hint - len(self._store.pending.get(self.trace, b"")))
        self._store.pending.setdefault(self.trace, bytearray())

    @property
    def kept(self) -> int:
        return self._kept

    def write(self, view: memoryview) -> None:
        held, end = self._held(), self._position + len(view)
        self._store.check_room(max(0, end - len(held)))
        self._flushed = None
        if held[self._position : end] == view:
            self._kept += len(view)
        held[self._position : end] = view
        self._position = end

    async def flush(self, size: int) -> None:
        del self._held()[self._position :]
        if len(self._held()) != size:
            raise StoreError(self._store.store_id, f"holds {len(self._held())} bytes, not {size}")
        self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        held = self._held()
        self._ended = True
        if size != self._flushed:
            raise StoreError(self._store.store_id, f"commit of {size} bytes, {self._flushed} were flushed")
        if self._image_id in self._store.objects:
            raise Duplicate(self._store.store_id, f"{self._image_id} is there already")
        self._store.objects[self._image_id] = bytes(held)
        self._store.writers[self._image_id] = self.trace
        del self._store.pending[self.trace]
        return self._store.location(self._image_id)

    async def published(self) -> Location | None:
        return await self._store.published(self.trace)

    async def abort(self) -> None:
        self._ended = True
        self._store.pending.pop(self.trace, None)

    def _held(self) -> bytearray:
        if self._ended:
            raise StoreError(self._store.store_id, "the writer has ended")
        try:
            return self._store.pending[self.trace]
        except KeyError:
            raise StoreError(self._store.store_id, "the writer is not open, or its bytes were discarded") from None


class MemorySource(Source):
    """Reads one object."""

    def __init__(self, store: MemoryStore, key: str) -> None:
        self.name = f"memory://{store.store_id}/{key}"
        self._store = store
        self._key = key
        self._left = memoryview(b"")

    def open(self) -> SourceInfo:
        if self._key not in self._store.objects:
            raise NotFound(self._store.store_id, f"{self.name} is not there")
        self._left = memoryview(self._store.objects[self._key])
        return SourceInfo(size=len(self._left))

    def reopen(self, offset: int) -> None:
        self.open()
        self._left = self._left[offset:]

    def readinto(self, view: memoryview) -> int:
        n = min(len(view), len(self._left))
        view[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def close(self) -> None:
        self._left = memoryview(b"")
