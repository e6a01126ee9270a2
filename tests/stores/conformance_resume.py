"""What a store must do that lets another process go on with what a dead writer has left: part of the suite.

Whatever is left, what is committed is the stream. The dead writer of a test has flushed what it had, so that it
is known what it left; it is aborted in the end, only so that the test itself lets go of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from faults.loop import run
from subject import IMAGE, OTHER, SLOT, Subject, assert_ended, content, drain_all, put, read_all, write_all

from glance_stream.errors import Duplicate, NotFound, StoreError
from glance_stream.model import Location
from glance_stream.stores.base import Store, Writer

Way = Callable[[Writer, bytes], None]

both_ways = pytest.mark.parametrize("way", [drain_all, write_all], ids=["drained", "written"])


def stream_of(subject: Subject) -> bytes:
    """Long enough for some of it to be there and some not."""
    return content(max(subject.large, 5 * SLOT + 123))


async def die_after(store: Store, written: bytes, size_hint: int | None) -> Writer:
    writer = await store.open_writer(IMAGE, size_hint)
    await asyncio.to_thread(drain_all, writer, written)
    await writer.flush(len(written))
    return writer


async def go_on(store: Store, trace: str, stream: bytes, way: Way = drain_all) -> tuple[Location, int]:
    """The location and the bytes that were kept."""
    writer = store.resume(IMAGE, trace)
    assert writer.trace == trace
    await writer.open(len(stream))
    await asyncio.to_thread(way, writer, stream)
    await writer.flush(len(stream))
    return await writer.commit(len(stream), {}), writer.kept


class ResumeConformance:
    """For stores that are `Traits.resumable`; `StoreConformance` asks the others to say that they are not."""

    @pytest.fixture
    def resumed(self, subject: Subject) -> Subject:
        assert subject.store.traits.resumable
        return subject

    @both_ways
    def test_what_is_right_is_kept(self, resumed: Subject, way: Way) -> None:
        stream = stream_of(resumed)
        cut = len(stream) * 2 // 3

        async def scenario() -> tuple[Location, int]:
            dead = await die_after(resumed.store, stream[:cut], len(stream))
            location, kept = await go_on(resumed.store, dead.trace, stream, way)
            resumed.assert_holds(IMAGE)
            await dead.abort()
            return location, kept

        location, kept = run(scenario())
        assert 0 < kept <= cut
        assert read_all(resumed.store.open_reader(location)) == stream
        resumed.assert_holds(IMAGE)

    @pytest.mark.parametrize("left", ["wrong in the middle", "wrong at once", "too long", "another's, and longer"])
    def test_the_bytes_are_the_streams_whatever_was_left(self, resumed: Subject, left: str) -> None:
        stream = stream_of(resumed)
        middle = len(stream) // 2
        held = {
            "wrong in the middle": stream[:middle] + bytes([stream[middle] ^ 1]) + stream[middle + 1 :],
            "wrong at once": b"?" + stream[1:],
            "too long": stream + b"and more of it" * 1000,
            "another's, and longer": content(len(stream) + SLOT, seed=2),
        }[left]

        async def scenario() -> Location:
            dead = await die_after(resumed.store, held, None)
            location, kept = await go_on(resumed.store, dead.trace, stream)
            assert kept < len(stream) or left == "too long"
            resumed.assert_holds(IMAGE)
            await dead.abort()
            return location

        assert read_all(resumed.store.open_reader(run(scenario()))) == stream
        resumed.assert_holds(IMAGE)

    def test_all_of_it_may_be_there(self, resumed: Subject) -> None:
        stream = stream_of(resumed)

        async def scenario() -> tuple[Location, int]:
            dead = await die_after(resumed.store, stream, len(stream))
            outcome = await go_on(resumed.store, dead.trace, stream)
            await dead.abort()
            return outcome

        location, kept = run(scenario())
        assert kept == len(stream)
        assert read_all(resumed.store.open_reader(location)) == stream
        resumed.assert_holds(IMAGE)

    def test_the_one_that_went_on_may_die_too(self, resumed: Subject) -> None:
        stream = stream_of(resumed)

        async def scenario() -> tuple[Location, int]:
            dead = await die_after(resumed.store, stream[: len(stream) // 2], len(stream))
            second = resumed.store.resume(IMAGE, dead.trace)
            await second.open(len(stream))
            more = stream[: len(stream) * 3 // 4]
            await asyncio.to_thread(drain_all, second, more)
            await second.flush(len(more))
            outcome = await go_on(resumed.store, dead.trace, stream)
            for one in (dead, second):
                await one.abort()
            return outcome

        location, kept = run(scenario())
        assert 0 < kept < len(stream)
        assert read_all(resumed.store.open_reader(location)) == stream
        resumed.assert_holds(IMAGE)

    @pytest.mark.parametrize("state", ["not opened", "opened", "half written", "flushed"])
    def test_abort_leaves_nothing(self, resumed: Subject, state: str) -> None:
        stream = stream_of(resumed)

        async def scenario() -> None:
            dead = await die_after(resumed.store, stream, len(stream))
            writer = resumed.store.resume(IMAGE, dead.trace)
            if state != "not opened":
                await writer.open(len(stream))
            if state in ("half written", "flushed"):
                half = stream[: len(stream) // 2]
                await asyncio.to_thread(write_all, writer, half)
                if state == "flushed":
                    await writer.flush(len(half))
            await writer.abort()
            resumed.assert_holds()
            await assert_ended(writer)
            await writer.abort()
            await dead.abort()

        run(scenario())
        resumed.assert_holds()

    def test_what_is_gone_is_not_found(self, resumed: Subject) -> None:
        async def scenario() -> None:
            stream = stream_of(resumed)
            never = resumed.store.writer(IMAGE)
            dead = await die_after(resumed.store, stream, len(stream))
            await resumed.store.discard(dead.trace)
            for trace in (dead.trace, never.trace):
                writer = resumed.store.resume(IMAGE, trace)
                with pytest.raises(NotFound):
                    await writer.open(len(stream))
                await writer.abort()
                await assert_ended(writer)
            await dead.abort()

        run(scenario())
        resumed.assert_holds()

    def test_a_name_that_was_taken_meanwhile(self, resumed: Subject) -> None:
        async def scenario() -> Location:
            stream = stream_of(resumed)
            dead = await die_after(resumed.store, stream, len(stream))
            location = await put(resumed.store, IMAGE, b"another was faster")
            writer = resumed.store.resume(IMAGE, dead.trace)
            with pytest.raises(Duplicate):
                await writer.open(len(stream))
            await writer.abort()
            resumed.assert_holds(IMAGE)
            await dead.abort()
            return location

        assert read_all(resumed.store.open_reader(run(scenario()))) == b"another was faster"
        resumed.assert_holds(IMAGE)

    def test_only_a_trace_of_this_image_will_do(self, resumed: Subject, stored: tuple[Location, bytes]) -> None:
        other = resumed.store.writer(OTHER).trace
        for trace in (other, stored[0].url, "rubbish", ""):
            with pytest.raises(StoreError):
                resumed.store.resume(IMAGE, trace)
