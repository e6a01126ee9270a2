"""The memory store: the suite, and what only it does."""

from __future__ import annotations

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from conformance_resume import ResumeConformance
from faults.loop import run
from subject import IMAGE, OTHER, Subject, content, put

from glance_stream.errors import ObjectBusy, StoreFull
from glance_stream.model import Location
from glance_stream.stores.memory import MemoryStore


def subject_of(store: MemoryStore) -> Subject:
    def corrupt(location: Location) -> None:
        image_id = location.url.rpartition("/")[2]
        store.objects[image_id] = bytes(len(store.objects[image_id]))

    return Subject(store, lambda: set(store.objects), lambda: list(store.pending), corrupt)


class TestMemoryStore(ResumeConformance, StoreConformance):
    @pytest.fixture(params=["mem", "Bär/β 1"], ids=["plain", "strange id"])
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return subject_of(MemoryStore(request.param))


class TestReadOnlyMemoryStore(ReadOnlyConformance):
    @pytest.fixture
    def subject(self) -> Subject:
        subject = subject_of(store := MemoryStore("mem", read_only=True))
        store.objects[IMAGE] = content(5000)
        subject.stored = (Location(f"memory://mem/{IMAGE}", "mem"), content(5000))
        return subject


def test_capacity_is_kept_at_open_and_in_mid_write() -> None:
    store = MemoryStore("mem", capacity=10)
    with pytest.raises(StoreFull):
        run(store.open_writer(IMAGE, 11))

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        writer.write(memoryview(b"12345678"))
        with pytest.raises(StoreFull):
            writer.write(memoryview(b"90a"))
        await writer.abort()

    run(scenario())
    assert (store.objects, store.pending) == ({}, {})
    run(put(store, OTHER, b"1234567890"))


def test_a_busy_object_is_not_deleted() -> None:
    store = MemoryStore("mem")
    location = run(put(store, IMAGE, b"abc"))
    store.busy.add(IMAGE)
    with pytest.raises(ObjectBusy):
        run(store.delete(location))
    assert IMAGE in store.objects
