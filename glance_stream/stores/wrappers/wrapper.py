"""A store over a store: everything goes through to the inner one. What adds something to stores overrides just that.

Wrappers keep the inner store's id, type and traits; its errors pass as they are. A native lane stays native.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from glance_stream.chunker import Lane, Ring
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer


class StoreWrapper(Store):
    """``inner``: the store that does the work."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.store_id = inner.store_id
        self.type = inner.type  # type: ignore[misc]  # a store's class knows its type, a wrapper's does not

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.type} store {self.store_id!r}>"

    @property
    def traits(self) -> Traits:  # type: ignore[override]  # a store may learn its own when it is opened
        return self.inner.traits

    @property
    def where(self) -> str:
        return self.inner.where

    async def open(self) -> None:
        await self.inner.open()

    async def is_there(self) -> bool:
        return await self.inner.is_there()

    def expect(self, images: int) -> None:
        self.inner.expect(images)

    async def free_space(self) -> int | None:
        return await self.inner.free_space()

    def writer(self, image_id: str) -> Writer:
        return self.inner.writer(image_id)

    def resume(self, image_id: str, trace: str) -> Writer:
        return self.inner.resume(image_id, trace)

    def open_left(self, trace: str) -> Source:
        return self.inner.open_left(trace)

    def open_reader(self, location: Location) -> Source:
        return self.inner.open_reader(location)

    async def stat(self, location: Location) -> ObjectStat:
        return await self.inner.stat(location)

    async def delete(self, location: Location) -> None:
        await self.inner.delete(location)

    async def discard(self, trace: str) -> None:
        await self.inner.discard(trace)

    async def published(self, trace: str) -> Location | None:
        return await self.inner.published(trace)

    async def strays(self) -> list[Stray]:
        return await self.inner.strays()

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        return await self.inner.sweep(older_than, spare)

    async def find(self, image_id: str) -> Location | None:
        return await self.inner.find(image_id)

    async def make_durable(self, location: Location) -> None:
        await self.inner.make_durable(location)

    async def places(self) -> frozenset[str]:
        return await self.inner.places()

    def owns(self, url: str) -> bool:
        return self.inner.owns(url)

    async def close(self) -> None:
        await self.inner.close()


class WriterWrapper(Writer):
    """``inner``: the writer that does the work, whose trace is this one's."""

    def __init__(self, inner: Writer) -> None:
        self.inner = inner
        self.trace = inner.trace

    @property
    def kept(self) -> int:
        return self.inner.kept

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        await self.inner.open(size_hint, thin=thin)

    def attach(self, ring: Ring) -> Lane:
        return self.inner.attach(ring)

    def drain(self, lane: Lane) -> None:
        self.inner.drain(lane)

    def write(self, view: memoryview) -> None:
        self.inner.write(view)

    async def flush(self, size: int) -> None:
        await self.inner.flush(size)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        return await self.inner.commit(size, digests)

    async def published(self) -> Location | None:
        return await self.inner.published()

    async def abort(self) -> None:
        await self.inner.abort()


class SourceWrapper(Source):
    """``inner``: the source that is read."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.name = inner.name

    def open(self) -> SourceInfo:
        return self.inner.open()

    def readinto(self, view: memoryview) -> int:
        return self.inner.readinto(view)

    def reopen(self, offset: int) -> None:
        self.inner.reopen(offset)

    def fileno(self) -> int | None:
        return self.inner.fileno()

    def verify_unchanged(self) -> None:
        self.inner.verify_unchanged()

    def interrupt(self) -> None:
        self.inner.interrupt()

    def close(self) -> None:
        self.inner.close()
