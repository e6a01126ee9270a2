"""A store that wraps a store and goes wrong at named steps."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault
from glance_stream.chunker import Lane, Ring
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Writer

# In the order in which a transfer meets them; the last three only when it undoes.
STEPS = ("open", "opened", "attach", "write:0", "write:2", "drained", "flush", "commit-before", "commit-after")
UNDO_STEPS = ("abort", "delete", "published")


class FaultyStore(Store):
    """``script``: step -> what happens there.

    'open' before anything is made, 'opened' when it is but the call has not returned; 'write:N' at the Nth write (from 0);
    'drained' after the last one; 'commit-before' with nothing visible, 'commit-after' with the object there although the call
    fails; 'attach', 'flush', 'abort', 'published', 'delete', 'discard', 'stat', 'find' at the call. ``calls``: every step, in
    order; making a writer is none, since it touches nothing.
    """

    def __init__(self, inner: Store, script: Mapping[str, Fault] | None = None) -> None:
        self.inner = inner
        self.script = dict(script or {})
        self.store_id = inner.store_id
        self.traits = inner.traits
        self.type = inner.type  # type: ignore[misc]
        self.calls: list[str] = []

    async def strike(self, step: str) -> None:
        self.calls.append(step)
        if step in self.script:
            await self.script[step].strike()

    def strike_blocking(self, step: str) -> None:
        self.calls.append(step)
        if step in self.script:
            self.script[step].strike_blocking()

    @property
    def where(self) -> str:
        return self.inner.where

    def writer(self, image_id: str) -> Writer:
        return FaultyWriter(self, self.inner.writer(image_id))

    def resume(self, image_id: str, trace: str) -> Writer:
        return FaultyWriter(self, self.inner.resume(image_id, trace))

    def open_reader(self, location: Location) -> Source:
        return self.inner.open_reader(location)

    async def stat(self, location: Location) -> ObjectStat:
        await self.strike("stat")
        return await self.inner.stat(location)

    async def delete(self, location: Location) -> None:
        await self.strike("delete")
        await self.inner.delete(location)

    async def discard(self, trace: str) -> None:
        await self.strike("discard")
        await self.inner.discard(trace)

    async def published(self, trace: str) -> Location | None:
        await self.strike("published")
        return await self.inner.published(trace)

    async def strays(self) -> list[Stray]:
        return await self.inner.strays()

    async def find(self, image_id: str) -> Location | None:
        await self.strike("find")
        return await self.inner.find(image_id)

    def owns(self, url: str) -> bool:
        return self.inner.owns(url)


class FaultyWriter(Writer):
    def __init__(self, store: FaultyStore, inner: Writer) -> None:
        self._store = store
        self._inner = inner
        self._writes = 0
        self._native = not any(step.startswith("write:") for step in store.script)
        self.trace = inner.trace

    @property
    def kept(self) -> int:
        return self._inner.kept

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        await self._store.strike("open")
        await self._inner.open(size_hint, thin=thin)
        await self._store.strike("opened")

    def attach(self, ring: Ring) -> Lane:
        self._store.strike_blocking("attach")
        return self._inner.attach(ring) if self._native else super().attach(ring)

    def drain(self, lane: Lane) -> None:
        if self._native:
            self._inner.drain(lane)
        else:
            super().drain(lane)
        self._store.strike_blocking("drained")

    def write(self, view: memoryview) -> None:
        self._writes += 1
        self._store.strike_blocking(f"write:{self._writes - 1}")
        self._inner.write(view)

    async def flush(self, size: int) -> None:
        await self._store.strike("flush")
        await self._inner.flush(size)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        await self._store.strike("commit-before")
        location = await self._inner.commit(size, digests)
        await self._store.strike("commit-after")
        return location

    async def published(self) -> Location | None:
        await self._store.strike("published")
        return await self._inner.published()

    async def abort(self) -> None:
        await self._store.strike("abort")
        await self._inner.abort()
