"""Which calls to a store are made again, and how a reader goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from hypothesis import given, settings
from hypothesis import strategies as st
from subject import IMAGE, OTHER, content, drain_all, put, read_all

from glance_stream.chunker import Lane, Ring, WriteLane
from glance_stream.errors import NotFound, SourceError, StoreDenied, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import ObjectStat, Store, Stray, Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.wrapper import SourceWrapper, StoreWrapper, WriterWrapper

AT_ONCE = RetryPolicy(tries=4, base=0)


class Flaky(StoreWrapper):
    """Each call fails ``times`` times before it is carried out; with ``after`` it is carried out each time, and then fails."""

    def __init__(self, inner: Store, times: int = 3, *, after: bool = False) -> None:
        super().__init__(inner)
        self.times = times
        self.after = after
        self.calls: list[str] = []

    async def strike(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        if self.calls.count(name) > self.times:
            return await call()
        if self.after:
            await call()
        raise StoreUnavailable(self.store_id, f"{name}: no answer")

    async def open(self) -> None:
        await self.strike("open", self.inner.open)

    def writer(self, image_id: str) -> Writer:
        return FlakyWriter(super().writer(image_id), self)

    async def stat(self, location: Location) -> ObjectStat:
        return await self.strike("stat", lambda: self.inner.stat(location))  # type: ignore[no-any-return]

    async def delete(self, location: Location) -> None:
        await self.strike("delete", lambda: self.inner.delete(location))

    async def discard(self, trace: str) -> None:
        await self.strike("discard", lambda: self.inner.discard(trace))

    async def free_space(self) -> int | None:
        return await self.strike("free_space", self.inner.free_space)  # type: ignore[no-any-return]

    async def strays(self) -> list[Stray]:
        return await self.strike("strays", self.inner.strays)  # type: ignore[no-any-return]

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        return await Store.sweep(self, older_than, spare)

    async def find(self, image_id: str) -> Location | None:
        return await self.strike("find", lambda: self.inner.find(image_id))  # type: ignore[no-any-return]


class FlakyWriter(WriterWrapper):
    def __init__(self, inner: Writer, store: Flaky) -> None:
        super().__init__(inner)
        self.store = store

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        await self.store.strike("writer.open", lambda: self.inner.open(size_hint, thin=thin))

    def write(self, view: memoryview) -> None:
        self.store.calls.append("write")
        raise StoreUnavailable(self.store.store_id, "write: no answer")

    def drain(self, lane: Lane) -> None:
        self.store.calls.append("drain")
        raise StoreUnavailable(self.store.store_id, "drain: no answer")

    async def flush(self, size: int) -> None:
        await self.store.strike("flush", lambda: self.inner.flush(size))

    async def commit(self, size: int, digests: Any) -> Location:
        return await self.store.strike("commit", lambda: self.inner.commit(size, digests))  # type: ignore[no-any-return]

    async def abort(self) -> None:
        await self.store.strike("abort", self.inner.abort)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore("mem")


def at(store: MemoryStore, image_id: str = IMAGE) -> Location:
    return Location(f"memory://{store.store_id}/{image_id}", store.store_id)


# -- calls ----------------------------------------------------------------------------------------------------------------


def test_what_does_no_harm_twice_is_asked_again(memory: MemoryStore) -> None:
    memory.objects[IMAGE] = b"abc"
    flaky = Flaky(memory)
    store = RetryingStore(flaky, AT_ONCE)

    async def scenario() -> None:
        await store.open()
        assert (await store.stat(at(memory))).size == 3
        assert await store.find(OTHER) is None
        assert await store.free_space() is None
        assert await store.strays() == []
        await store.discard("memory://mem/.x.part")
        await store.delete(at(memory))

    run(scenario())
    assert {name: flaky.calls.count(name) for name in flaky.calls} == dict.fromkeys(
        ["open", "stat", "find", "free_space", "strays", "discard", "delete"], 4
    )
    assert memory.objects == {}


def test_asking_ends_after_as_many_tries(memory: MemoryStore) -> None:
    flaky = Flaky(memory, times=99)
    with pytest.raises(StoreUnavailable, match="stat: no answer"):
        run(RetryingStore(flaky, AT_ONCE).stat(at(memory)))
    assert flaky.calls == ["stat"] * 4


def test_a_deletion_whose_answer_was_lost_is_done(memory: MemoryStore) -> None:
    memory.objects[IMAGE] = b"abc"
    flaky = Flaky(memory, times=1, after=True)
    run(RetryingStore(flaky, AT_ONCE).delete(at(memory)))
    assert flaky.calls == ["delete"] * 2
    assert memory.objects == {}


def test_what_was_never_there_is_not_found(memory: MemoryStore) -> None:
    with pytest.raises(NotFound):
        run(RetryingStore(Flaky(memory, times=0), AT_ONCE).delete(at(memory)))


def test_a_sweep_tells_all_that_it_removed(memory: MemoryStore) -> None:
    """Also what was removed by a call whose answer was lost."""
    traces = [f"memory://mem/.{image_id}.0.part" for image_id in (IMAGE, OTHER)]
    memory.pending.update({trace: bytearray(b"abc") for trace in traces})
    swept = run(RetryingStore(Flaky(memory, times=1, after=True), AT_ONCE).sweep(0))
    assert [stray.trace for stray in swept] == traces
    assert memory.pending == {}


# -- writing --------------------------------------------------------------------------------------------------------------


def test_a_writer_opens_a_store_that_answers(memory: MemoryStore) -> None:
    flaky = Flaky(memory, times=2)

    async def scenario() -> None:
        writer = RetryingStore(flaky, AT_ONCE).writer(IMAGE)
        with pytest.raises(StoreUnavailable):
            await writer.open(3)
        assert flaky.calls == ["open", "open", "open", "writer.open"]
        await writer.abort()

    run(scenario())
    assert flaky.calls[4:] == ["abort", "abort", "abort"]


async def do(writer: Writer, step: str) -> None:
    if step == "write":
        writer.write(memoryview(b"abc"))
    elif step == "drain":
        writer.drain(Ring(2, 4096).lane())
    elif step == "flush":
        await writer.flush(0)
    else:
        await writer.commit(0, {})


@pytest.mark.parametrize("step", ["write", "drain", "flush", "commit"])
def test_what_can_do_harm_twice_is_asked_once(memory: MemoryStore, step: str) -> None:
    flaky = Flaky(memory, times=0)

    async def scenario() -> None:
        writer = RetryingStore(flaky, AT_ONCE).writer(IMAGE)
        await writer.open(0)
        await writer.flush(0)
        flaky.times = 1
        flaky.calls.clear()
        with pytest.raises(StoreUnavailable):
            await do(writer, step)
        assert flaky.calls == [step]
        await writer.abort()

    run(scenario())


def test_a_native_lane_stays_native(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = await RetryingStore(FileStore("f", tmp_path)).open_writer(IMAGE, 3)
        assert isinstance(writer.attach(Ring(2, 4096)), WriteLane)
        drain_all(writer, content(5000))
        await writer.abort()

    run(scenario())


# -- reading --------------------------------------------------------------------------------------------------------------


class Breaking(SourceWrapper):
    """Breaks at each of the given offsets once, and ``stubborn`` times more while it is asked to go on there."""

    def __init__(self, inner: Source, breaks: list[int], stubborn: int, error: Callable[[], Exception]) -> None:
        super().__init__(inner)
        self._breaks = breaks  # of all readers of the object
        self._stubborn = stubborn
        self._left = 0
        self._error = error
        self._at = 0
        self._broken = False

    def readinto(self, view: memoryview) -> int:
        assert not self._broken, "read on after it broke"
        if self._breaks and self._at >= self._breaks[0]:
            self._breaks.pop(0)
            self._broken, self._left = True, self._stubborn
            view[:] = b"\xee" * len(view)  # what came with a broken read is rubbish
            raise self._error()
        stop = self._breaks[0] if self._breaks else self._at + len(view)
        count = self.inner.readinto(view[: max(1, min(len(view), stop - self._at))])
        self._at += count
        return count

    def reopen(self, offset: int) -> None:
        if self._left:
            self._left -= 1
            raise self._error()
        self.inner.reopen(offset)
        self._at, self._broken = offset, False


class BreakingStore(MemoryStore):
    def __init__(
        self,
        breaks: list[int],
        stubborn: int = 0,
        error: Callable[[], Exception] = lambda: StoreUnavailable("mem", "connection reset"),
    ) -> None:
        super().__init__("mem")
        self.breaks = sorted(breaks)
        self.stubborn = stubborn
        self.error = error
        self.readers: list[Breaking] = []

    def open_reader(self, location: Location) -> Source:
        self.readers.append(Breaking(super().open_reader(location), self.breaks, self.stubborn, self.error))
        return self.readers[-1]


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 60_000), breaks=st.lists(st.integers(0, 60_000), max_size=30), stubborn=st.integers(0, 2))
def test_every_byte_is_read_once_however_often_it_breaks(size: int, breaks: list[int], stubborn: int) -> None:
    """More breaks than tries: each new byte begins a new row of them."""
    store = BreakingStore(list(set(breaks)), stubborn)
    store.objects[IMAGE] = content(size)
    assert read_all(RetryingStore(store, AT_ONCE).open_reader(at(store))) == content(size)
    assert len(store.readers) == 1


def test_reading_ends_when_nothing_new_comes() -> None:
    store = BreakingStore([3000], stubborn=99)
    store.objects[IMAGE] = content(5000)
    with pytest.raises(StoreUnavailable, match="connection reset"):
        read_all(RetryingStore(store, AT_ONCE).open_reader(at(store)))
    assert store.readers[0]._left == 99 - 3


def test_what_is_final_is_not_read_again() -> None:
    store = BreakingStore([3000], error=lambda: StoreDenied("mem", "the token was revoked"))
    store.objects[IMAGE] = content(5000)
    with pytest.raises(StoreDenied):
        read_all(RetryingStore(store, AT_ONCE).open_reader(at(store)))


def test_each_try_to_open_is_a_source_of_its_own() -> None:
    closed: list[int] = []

    class Opening(SourceWrapper):
        def open(self) -> SourceInfo:
            if len(store.opened) < 3:
                raise StoreTimeout("mem", "no answer")
            return super().open()

        def close(self) -> None:
            closed.append(store.opened.index(self))
            super().close()

    class OpeningStore(MemoryStore):
        def __init__(self) -> None:
            super().__init__("mem")
            self.opened: list[Source] = []

        def open_reader(self, location: Location) -> Source:
            self.opened.append(Opening(super().open_reader(location)))
            return self.opened[-1]

    store = OpeningStore()
    store.objects[IMAGE] = b"abc"
    assert read_all(RetryingStore(store, AT_ONCE).open_reader(at(store))) == b"abc"
    assert closed == [0, 1, 2]


def test_an_interrupt_ends_the_waiting() -> None:
    store = BreakingStore([0])
    store.objects[IMAGE] = b"abc"
    waiting = threading.Event()

    def pause(seconds: float, stopped: threading.Event) -> None:
        waiting.set()
        assert stopped.wait(20)

    source = RetryingStore(store, RetryPolicy(base=1000, pause=pause)).open_reader(at(store))
    source.open()
    threading.Thread(target=lambda: waiting.wait(20) and source.interrupt(), daemon=True).start()
    with pytest.raises((StoreError, SourceError)):
        source.readinto(memoryview(bytearray(10)))
    source.close()


def test_a_foreign_location_is_refused_before_anything_is_read(memory: MemoryStore) -> None:
    with pytest.raises(StoreError):
        RetryingStore(memory).open_reader(Location("cinder://x", "mem"))


def test_an_object_of_a_store_made_by_put_is_read_back(memory: MemoryStore) -> None:
    store = RetryingStore(memory, AT_ONCE)
    assert read_all(store.open_reader(run(put(store, IMAGE, content(9999))))) == content(9999)
