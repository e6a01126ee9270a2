"""Every wrapper, and all of them together, over a store with a native lane and one without: still a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from conformance_resume import ResumeConformance
from faults.loop import run
from subject import IMAGE, Subject, content
from test_store_file import subject_of as file_subject
from test_store_memory import subject_of as memory_subject

from glance_stream.errors import SourceError
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.base import Source
from glance_stream.stores.base import Store, Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers.bandwidth import PacedStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.time_limits import TimeLimitedStore, TimeLimits
from glance_stream.stores.wrappers.token_bucket import Bandwidth
from glance_stream.stores.wrappers.wrapper import SourceWrapper, StoreWrapper, WriterWrapper

GIB = 1 << 30
IMMEDIATELY = RetryPolicy(base=0)  # what fails on purpose is asked again at once


class ThinWrapper(StoreWrapper):
    """Wraps what it gives out too, and changes nothing."""

    def writer(self, image_id: str) -> WriterWrapper:
        return WriterWrapper(super().writer(image_id))

    def open_reader(self, location: Location) -> Source:
        return SourceWrapper(super().open_reader(location))


def retrying(store: Store) -> Store:
    return RetryingStore(store, IMMEDIATELY)


def paced(store: Store) -> Store:
    return PacedStore(store, Bandwidth(4 * GIB), Bandwidth(8 * GIB))


def limited(store: Store) -> Store:
    return TimeLimitedStore(store, TimeLimits(open=20, call=20, progress=20))


def together(store: Store) -> Store:
    return paced(retrying(limited(store)))


WRAPPERS: list[Callable[[Store], Store]] = [ThinWrapper, retrying, paced, limited, together]


class TestWrappedMemoryStore(ResumeConformance, StoreConformance):
    @pytest.fixture(params=WRAPPERS, ids=lambda wrap: wrap.__name__)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        store = MemoryStore("mem")
        return replace(memory_subject(store), store=request.param(store))


class TestWrappedFileStore(ResumeConformance, StoreConformance):
    @pytest.fixture(params=WRAPPERS, ids=lambda wrap: wrap.__name__)
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
        store = FileStore("Bär", tmp_path / "img")
        return replace(file_subject(store), store=request.param(store))


class TestWrappedReadOnlyStore(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        (tmp_path / IMAGE).write_bytes(content(5000))
        store = FileStore("files", tmp_path, read_only=True)
        subject = replace(file_subject(store), store=together(store))
        subject.stored = (Location(f"file://{tmp_path}/{IMAGE}", "files"), content(5000))
        return subject


@pytest.mark.parametrize(
    ("contract", "wrapper"),
    [(Store, StoreWrapper), (Writer, WriterWrapper), (Source, SourceWrapper)],
    ids=lambda kind: kind.__name__,
)
def test_every_member_of_the_contract_is_passed_on(contract: type, wrapper: type) -> None:
    """A default that the contract has must not take the place of what the inner store does. `open_writer` is made of others."""
    members = {name for name in vars(contract) if not name.startswith("_")} - {"open_writer"}
    assert members <= vars(wrapper).keys()


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_a_wrapper_is_known_by_the_inner_stores_id_type_and_traits(wrap: Callable[[Store], Store], tmp_path: Path) -> None:
    inner = FileStore("Bär", tmp_path, read_only=True)
    store = wrap(inner)
    assert (store.store_id, store.type, store.where, store.traits) == ("Bär", "file", str(tmp_path), inner.traits)
    assert "Bär" in repr(store)
    assert (run(store.free_space()) is None) == (run(inner.free_space()) is None)  # others write to the disk meanwhile


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_a_source_is_interrupted_and_closed_through_its_wrappers(wrap: Callable[[Store], Store]) -> None:
    calls: list[str] = []

    class Telling(SourceWrapper):
        def interrupt(self) -> None:
            calls.append("interrupt")

        def close(self) -> None:
            calls.append("close")

        def verify_unchanged(self) -> None:
            raise SourceError("changed")

    class Told(MemoryStore):
        def open_reader(self, location: Location) -> Source:
            return Telling(super().open_reader(location))

    source = wrap(Told("mem")).open_reader(Location(f"memory://mem/{IMAGE}", "mem"))
    with pytest.raises(SourceError, match="changed"):
        source.verify_unchanged()
    source.interrupt()
    source.close()
    assert calls == ["interrupt", "close"]
