"""What every store must do. A store type joins with one fixture::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def subject(self, tmp_path):
            return Subject(store, objects=..., leavings=..., corrupt=...)

One that can go on with what a dead writer has left joins :class:`conformance_resume.ResumeConformance` as well.
A store that can only be read joins :class:`ReadOnlyConformance` and says in ``subject.stored`` what it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from conformance_adopting import AdoptingConformance
from conformance_resume import ResumeConformance
from conformance_traces import TraceConformance
from faults.loop import run
from subject import IMAGE, OTHER, SIZES, SLOT, Drain, Subject, assert_ended, content, drain_all, put, read_all, read_some, write_all

from glance_stream.chunker import LaneStopped, Ring
from glance_stream.errors import Duplicate, InvalidRequest, NotFound, StoreError, StoreReadOnly
from glance_stream.model import Location
from glance_stream.stores.base import Store, Writer

UNSAFE_IDS = ["", ".", "..", "../up", "a/b", "/etc/passwd", ".hidden", "nul\0", "a" * 300, "new\nline", "%2e%2e/x"]


class ReadConformance:
    """What holds for every store."""

    @pytest.fixture
    def subject(self) -> Subject:
        raise NotImplementedError

    @pytest.fixture
    def store(self, subject: Subject) -> Store:
        return subject.store

    @pytest.fixture
    def stored(self, subject: Subject) -> tuple[Location, bytes]:
        assert subject.stored is not None
        return subject.stored

    def test_an_object_is_read_back(self, store: Store, stored: tuple[Location, bytes]) -> None:
        location, data = stored
        assert run(store.stat(location)).size == len(data)
        assert read_all(store.open_reader(location)) == data

    @pytest.mark.parametrize("after", [0, 10_000, None])
    def test_reading_goes_on_at_any_offset(self, store: Store, stored: tuple[Location, bytes], after: int | None) -> None:
        """``after``: bytes read before that; None for all of them."""
        location, data = stored
        source = store.open_reader(location)
        try:
            source.open()
            read_some(source, len(data) if after is None else after)
            for offset in (len(data) - 1, 1, len(data) // 2, 0, len(data)):
                source.reopen(offset)
                assert read_some(source, len(data) + 1) == data[offset:]
        finally:
            source.close()

    def test_a_location_names_its_store_and_is_owned_by_it(self, store: Store, stored: tuple[Location, bytes]) -> None:
        location, _ = stored
        assert location.store_id == store.store_id
        assert store.owns(location.url)

    def test_corruption_can_be_seen(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        location, data = stored
        subject.corrupt(location)
        with suppress(StoreError):  # a store may notice by itself
            assert read_all(subject.store.open_reader(location)) != data

    def test_what_is_not_there_is_not_found(self, store: Store, stored: tuple[Location, bytes]) -> None:
        parent, _, _ = stored[0].url.rpartition("/")
        missing = Location(f"{parent}/{OTHER}", store.store_id)
        with pytest.raises(NotFound):
            run(store.stat(missing))
        with pytest.raises(NotFound):
            read_all(store.open_reader(missing))
        assert run(store.find(OTHER)) is None

    def test_owns_by_whole_components(self, store: Store, stored: tuple[Location, bytes]) -> None:
        url = stored[0].url
        parent, _, name = url.rpartition("/")
        for foreign in (
            f"{parent}2/{name}",
            f"{parent}-old/{name}",
            f"{parent}/../{name}",
            f"{parent}/sub/../../{name}",
            f"{parent}/..",
            f"{parent}/.",
            f"{parent}/",
            parent,
            f"{parent}%2f..%2f..%2f{name}",
            f"{parent}/%2e%2e%2f{name}",
            f"x{url}",
            url.replace("://", ":/", 1),
            f"swift+https://user@host/{name}",
            name,
            "",
        ):
            assert not store.owns(foreign), foreign

    def test_foreign_locations_are_refused(self, store: Store) -> None:
        elsewhere = Location("cinder://somewhere/else", store.store_id)
        with pytest.raises(StoreError):
            run(store.stat(elsewhere))
        with pytest.raises(StoreError):
            run(store.delete(elsewhere))
        with pytest.raises(StoreError):
            store.open_reader(elsewhere)

    def test_open_and_close_may_be_called_twice(self, store: Store) -> None:
        async def scenario() -> None:
            await store.open()
            await store.open()
            await store.close()
            await store.close()

        run(scenario())


class ReadOnlyConformance(ReadConformance):
    """Beside what holds for every store: nothing can be changed."""

    def test_it_says_so(self, store: Store) -> None:
        assert store.traits.read_only

    def test_nothing_is_written(self, subject: Subject) -> None:
        before = subject.objects()
        with pytest.raises(StoreReadOnly):
            subject.store.writer(OTHER)
        with pytest.raises(StoreReadOnly):
            run(subject.store.open_writer(OTHER, 3))
        subject.assert_holds(*before)

    def test_nothing_is_deleted(self, store: Store, stored: tuple[Location, bytes]) -> None:
        with pytest.raises(StoreReadOnly):
            run(store.delete(stored[0]))
        assert read_all(store.open_reader(stored[0])) == stored[1]


class StoreConformance(AdoptingConformance, TraceConformance, ReadConformance):
    """What holds for every store that can be written to."""

    @pytest.fixture
    def stored(self, subject: Subject) -> tuple[Location, bytes]:
        data = content(SIZES[-1])
        return run(put(subject.store, IMAGE, data)), data

    def test_the_traits_say_whether_it_can(self, subject: Subject) -> None:
        trace = subject.store.writer(IMAGE).trace
        if subject.store.traits.resumable:
            assert isinstance(self, ResumeConformance), "its traits promise what is not tested"
            assert subject.store.resume(IMAGE, trace).trace == trace
            return
        with pytest.raises(StoreError):
            subject.store.resume(IMAGE, trace)

    # -- writing ----------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("fill", "thin"), [(write_all, False), (drain_all, True)], ids=["write, thick", "drain, thin"])
    @pytest.mark.parametrize("size", SIZES)
    def test_every_byte_arrives(self, subject: Subject, size: int, fill: Callable[[Writer, bytes], None], thin: bool) -> None:
        data = content(size)

        async def scenario() -> Location:
            writer = await subject.store.open_writer(IMAGE, size, thin=thin)
            fill(writer, data)
            await writer.flush(size)
            return await writer.commit(size, {})

        location = run(scenario())
        assert read_all(subject.store.open_reader(location)) == data
        assert run(subject.store.find(IMAGE)) == location
        subject.assert_holds(IMAGE)

    @pytest.mark.parametrize(("fill", "thin"), [(write_all, True), (drain_all, False)], ids=["write, thin", "drain, thick"])
    def test_many_bytes_arrive_either_way(self, subject: Subject, fill: Callable[[Writer, bytes], None], thin: bool) -> None:
        self.test_every_byte_arrives(subject, SIZES[-1], fill, thin)

    def test_zeros_arrive_thin(self, subject: Subject) -> None:
        data = bytes(3 * SLOT + 5)

        async def scenario() -> Location:
            writer = await subject.store.open_writer(IMAGE, len(data), thin=True)
            drain_all(writer, data)
            await writer.flush(len(data))
            return await writer.commit(len(data), {})

        assert read_all(subject.store.open_reader(run(scenario()))) == data

    def test_nothing_is_visible_before_commit(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            await subject.assert_nothing_is_seen(IMAGE)
            write_all(writer, b"abc")
            await subject.assert_nothing_is_seen(IMAGE)
            await writer.flush(3)
            await subject.assert_nothing_is_seen(IMAGE)
            await writer.commit(3, {})

        run(scenario())
        subject.assert_holds(IMAGE)

    def test_size_may_be_unknown(self, subject: Subject) -> None:
        if subject.store.traits.needs_size:
            pytest.skip("this store must know the size")

        async def scenario() -> Location:
            writer = await subject.store.open_writer(IMAGE, None)
            write_all(writer, b"abc")
            await writer.flush(3)
            return await writer.commit(3, {})

        assert read_all(subject.store.open_reader(run(scenario()))) == b"abc"

    @pytest.mark.parametrize("claimed", [2, 4])
    def test_flush_refuses_another_size(self, subject: Subject, claimed: int) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            write_all(writer, b"abc")
            with pytest.raises(StoreError):
                await writer.flush(claimed)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    @pytest.mark.parametrize("claimed", [2, 4])
    def test_commit_refuses_another_size(self, subject: Subject, claimed: int) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            write_all(writer, b"abc")
            await writer.flush(3)
            with pytest.raises(StoreError):
                await writer.commit(claimed, {})
            await assert_ended(writer)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    def test_commit_ends_the_writer(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            write_all(writer, b"abc")
            await writer.flush(3)
            await writer.commit(3, {})
            await assert_ended(writer)

        run(scenario())
        subject.assert_holds(IMAGE)

    def test_unsafe_ids_are_refused(self, subject: Subject) -> None:
        for image_id in UNSAFE_IDS:
            with pytest.raises(InvalidRequest):
                subject.store.writer(image_id)
        subject.assert_holds()

    # -- names that are taken ---------------------------------------------------------------------------------------------

    def test_duplicate_at_open(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        with pytest.raises(Duplicate):
            run(subject.store.open_writer(IMAGE, 3))
        assert read_all(subject.store.open_reader(stored[0])) == stored[1]
        subject.assert_holds(IMAGE)

    def test_of_two_writers_of_one_image_the_second_finds_a_duplicate(self, subject: Subject) -> None:
        async def scenario() -> Location:
            one = await subject.store.open_writer(IMAGE, 3)
            if not subject.store.traits.atomic_commit:  # they would write one object
                with pytest.raises(Duplicate):
                    await subject.store.open_writer(IMAGE, 3)
                write_all(one, b"one")
                await one.flush(3)
                return await one.commit(3, {})
            two = await subject.store.open_writer(IMAGE, 3)
            assert one.trace != two.trace
            write_all(one, b"one")
            write_all(two, b"two")
            await one.flush(3)
            await two.flush(3)
            location = await one.commit(3, {})
            with pytest.raises(Duplicate):
                await two.commit(3, {})
            await assert_ended(two)
            await two.abort()
            return location

        assert read_all(subject.store.open_reader(run(scenario()))) == b"one"
        subject.assert_holds(IMAGE)

    def test_two_images_at_once(self, subject: Subject) -> None:
        async def scenario() -> dict[bytes, Location]:
            one, two = await subject.store.open_writer(IMAGE, 3), await subject.store.open_writer(OTHER, 3)
            for piece_one, piece_two in zip(b"one", b"two", strict=True):
                one.write(memoryview(bytes([piece_one])))
                two.write(memoryview(bytes([piece_two])))
            await one.flush(3)
            await two.flush(3)
            return {b"two": await two.commit(3, {}), b"one": await one.commit(3, {})}

        for data, location in run(scenario()).items():
            assert read_all(subject.store.open_reader(location)) == data
        subject.assert_holds(IMAGE, OTHER)

    # -- giving up --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", ["fresh", "half written", "flushed"])
    def test_abort_leaves_nothing(self, subject: Subject, state: str) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, 3)
            if state != "fresh":
                write_all(writer, b"abc")
            if state == "flushed":
                await writer.flush(3)
            await writer.abort()
            subject.assert_holds()
            await assert_ended(writer)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    def test_abort_after_commit_leaves_the_object(self, subject: Subject) -> None:
        async def scenario() -> Location:
            writer = await subject.store.open_writer(IMAGE, 3)
            write_all(writer, b"abc")
            await writer.flush(3)
            location = await writer.commit(3, {})
            await writer.abort()
            await writer.abort()
            await subject.discard_beside_an_object(writer.trace)
            return location

        assert read_all(subject.store.open_reader(run(scenario()))) == b"abc"
        subject.assert_holds(IMAGE)

    @pytest.mark.parametrize("flushed", [False, True])
    def test_discard_cleans_up_after_a_crash(self, subject: Subject, flushed: bool) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, subject.large)
            write_all(writer, content(subject.large))
            if flushed:
                await writer.flush(subject.large)
            assert subject.leavings() != [] or not subject.store.traits.atomic_commit
            await subject.store.discard(writer.trace)
            await subject.store.discard(writer.trace)
            subject.assert_holds()
            await writer.abort()  # only so that the test itself lets go of it

        run(scenario())

    def test_a_writer_whose_traces_are_gone_does_not_commit(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, subject.large)
            write_all(writer, content(subject.large))
            await writer.flush(subject.large)
            await subject.store.discard(writer.trace)
            with pytest.raises(StoreError):
                await writer.commit(subject.large, {})
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    def test_discard_refuses_what_is_not_a_trace(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        location, data = stored
        parent, _, _ = location.url.rpartition("/")
        for trace in (location.url, f"{parent}2/.x.part", f"{parent}/../{IMAGE}", "cinder://volume/1", "rubbish", ""):
            with pytest.raises(StoreError):
                run(subject.store.discard(trace))
        assert read_all(subject.store.open_reader(location)) == data

    def test_a_broken_stream_never_becomes_visible(self, subject: Subject) -> None:
        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, None if not subject.store.traits.needs_size else 2 * SLOT)
            ring = Ring(2, SLOT)
            drain = Drain(writer, ring)
            with ring.reserve() as view:
                view[:] = b"x" * SLOT
            ring.publish(SLOT)
            ring.fail()
            assert isinstance(drain.outcome(), LaneStopped)
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    # -- after the commit -------------------------------------------------------------------------------------------------

    def test_delete(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        location, _ = stored
        run(subject.store.delete(location))
        subject.assert_holds()
        assert run(subject.store.find(IMAGE)) is None
        with pytest.raises(NotFound):
            run(subject.store.delete(location))
        with pytest.raises(NotFound):
            run(subject.store.stat(location))

    def test_a_deleted_image_may_come_again(self, subject: Subject, stored: tuple[Location, bytes]) -> None:
        run(subject.store.delete(stored[0]))
        assert read_all(subject.store.open_reader(run(put(subject.store, IMAGE, b"again")))) == b"again"
