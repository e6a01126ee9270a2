"""What every store that can be written to must do so that nobody ever has to look for what a crash has left: part of the suite."""

from __future__ import annotations

import asyncio

import pytest
from faults.loop import run
from subject import IMAGE, OTHER, SLOT, Subject, assert_ended, content, put, read_all, write_all

from glance_stream.chunker import Ring
from glance_stream.errors import Duplicate, StoreError
from glance_stream.model import Location


class TraceConformance:
    """A writer's trace is known before the store is touched, and whatever becomes of the opening, nothing else is left."""

    def test_the_trace_is_known_before_anything_is_touched(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer, other = subject.store.writer(IMAGE), subject.store.writer(IMAGE)
            trace = writer.trace
            assert trace != other.trace
            assert not subject.store.owns(trace)
            subject.assert_holds()
            await writer.open(3)
            write_all(writer, b"abc")
            await writer.flush(3)
            await writer.commit(3, {})
            assert writer.trace == trace

        run(scenario())
        subject.assert_holds(IMAGE)

    def test_a_writer_may_be_made_where_the_name_is_taken(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        async def scenario() -> None:
            writer = subject.store.writer(IMAGE)
            with pytest.raises(Duplicate):
                await writer.open(3)
            await assert_ended(writer)
            await writer.abort()
            await subject.discard_beside_an_object(writer.trace)

        run(scenario())
        assert read_all(subject.store.open_reader(stored[0])) == stored[1]
        subject.assert_holds(IMAGE)

    def test_discard_before_open_is_fine(self, subject: Subject) -> None:
        """As after a crash between the record of the trace and the opening."""
        run(subject.store.discard(subject.store.writer(IMAGE).trace))
        subject.assert_holds()

    def test_abort_before_open_ends_the_writer(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = subject.store.writer(IMAGE)
            await writer.abort()
            await writer.abort()
            with pytest.raises(StoreError):
                await writer.open(3)
            await assert_ended(writer)

        run(scenario())
        subject.assert_holds()

    def test_what_is_not_open_can_not_be_written_to(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = subject.store.writer(IMAGE)
            with pytest.raises(StoreError):
                writer.attach(Ring(2, SLOT)) and writer.write(memoryview(b"abc"))
            await assert_ended(writer)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    def test_a_writer_is_opened_once(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            with pytest.raises(StoreError):
                await writer.open(3)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 11])
    def test_abort_after_a_cancelled_open_leaves_nothing(self, subject: Subject, turns: int) -> None:
        """Wherever the opening was. What was cancelled may go on in a thread; the abort is true when it has returned."""

        async def scenario() -> None:
            writer = subject.store.writer(IMAGE)
            opening = asyncio.ensure_future(writer.open(3))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            await writer.abort()
            subject.assert_holds()

        run(scenario())
        subject.assert_holds()

    def test_strays_are_what_is_not_committed(self, subject: Subject) -> None:
        async def scenario() -> None:
            assert await subject.store.strays() == []
            writer, other = await subject.store.open_writer(IMAGE, 3), await subject.store.open_writer(OTHER, 3)
            for one in (writer, other):
                write_all(one, b"abc")
                await one.flush(3)
            await writer.commit(3, {})
            assert {stray.image_id for stray in await subject.store.strays()} <= {OTHER}
            await other.commit(3, {})
            assert await subject.store.strays() == []

        run(scenario())
        subject.assert_holds(IMAGE, OTHER)

    @pytest.mark.parametrize("flushed", [False, True])
    def test_a_sweep_finds_and_removes_what_a_dead_process_left(self, subject: Subject, flushed: bool) -> None:
        async def scenario() -> None:
            await put(subject.store, OTHER, b"stays")
            writer = await subject.store.open_writer(IMAGE, None if not subject.store.traits.needs_size else subject.large)
            write_all(writer, content(subject.large))
            if flushed:
                await writer.flush(subject.large)
            strays = await subject.store.strays()
            if not subject.store.traits.atomic_commit and not strays:  # it can't tell them from what is complete
                assert await subject.store.sweep(0) == []
                await writer.abort()
                return
            assert [stray.image_id for stray in strays] == [IMAGE]
            assert await subject.store.sweep(3600) == []
            assert await subject.store.sweep(0, spare=[strays[0].trace]) == []
            assert [stray.trace for stray in await subject.store.sweep(0)] == [strays[0].trace]
            assert await subject.store.strays() == []
            subject.assert_holds(OTHER)
            await writer.abort()  # only so that the test itself lets go of it

        run(scenario())
        subject.assert_holds(OTHER)
