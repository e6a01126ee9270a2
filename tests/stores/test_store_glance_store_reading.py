"""Reading through drivers: of any chunks, from any offset, and from one that hangs or fails."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.loop import run
from glance_store import capabilities, exceptions
from glance_store_drivers import Wayward, file_store, install_wayward, wayward_store
from subject import IMAGE, content, put, read_all, read_some

from glance_stream.errors import NotFound, SourceError, StoreDenied, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.sources.base import Source

DATA = content(12_345)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Source, Wayward]:
    install_wayward(tmp_path, monkeypatch)
    store, driver = wayward_store()
    driver.objects[IMAGE] = DATA
    return store.open_reader(Location(f"wayward://box/{IMAGE}", "gs")), driver


def test_an_end_before_the_stated_size_is_an_error(stored: tuple[Source, Wayward]) -> None:
    source, driver = stored
    driver.does.add("ends early")
    with pytest.raises(StoreUnavailable, match="ended at byte 12345 of 12346"):
        read_all(source)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(exceptions.Forbidden(), StoreDenied), (ConnectionResetError(), StoreUnavailable), (ValueError("a bug"), StoreError)],
    ids=["forbidden", "reset", "bug"],
)
def test_what_a_driver_raises_in_mid_read_is_mapped(
    stored: tuple[Source, Wayward], raised: Exception, expected: type[StoreError]
) -> None:
    source, driver = stored
    driver.does.add("fails in mid read")
    driver.raises = raised
    with pytest.raises(expected):
        read_all(source)


@pytest.mark.parametrize("where", ["hangs in get", "hangs in mid read"])
def test_an_interrupt_frees_a_reader_and_the_hung_driver_is_abandoned(stored: tuple[Source, Wayward], where: str) -> None:
    source, driver = stored
    driver.does |= {where, "is being read"}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_all, source)
        with pytest.raises(TimeoutError):
            reading.result(0.3)
        source.interrupt()
        source.interrupt()
        with pytest.raises(SourceError, match="interrupted"):
            reading.result(5)
    with pytest.raises(SourceError):
        source.readinto(memoryview(bytearray(10)))
    source.close()
    driver.may_go_on.set()
    if where == "hangs in mid read":  # the iterator is closed by the thread that was in it
        deadline = time.monotonic() + 10
        while "is being read" in driver.does and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "is being read" not in driver.does


def test_a_source_that_is_not_open_can_not_be_read(stored: tuple[Source, Wayward]) -> None:
    source, _ = stored
    with pytest.raises(SourceError):
        source.readinto(memoryview(bytearray(10)))
    source.close()


def test_a_changed_size_is_seen_by_reopen(stored: tuple[Source, Wayward]) -> None:
    source, driver = stored
    source.open()
    read_some(source, 5000)
    driver.objects[IMAGE] = DATA + b"more"
    with pytest.raises(SourceError, match="changed"):
        source.reopen(5000)
    with pytest.raises(SourceError, match="not open"):
        source.readinto(memoryview(bytearray(10)))
    source.close()


def test_what_was_never_opened_can_not_be_gone_on_with(stored: tuple[Source, Wayward]) -> None:
    """Its size is not known, by which alone another object would be told."""
    source, driver = stored
    with pytest.raises(SourceError, match="not been opened"):
        source.reopen(0)
    del driver.objects[IMAGE]
    with pytest.raises(StoreError):
        source.open()
    driver.objects[IMAGE] = DATA
    with pytest.raises(SourceError, match="not been opened"):
        source.reopen(5000)
    source.open()
    source.reopen(5000)
    assert read_some(source, 100) == DATA[5000:5100]
    source.close()


def test_a_driver_with_offsets_is_asked_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one without them is not: glance_store refuses that."""
    store = file_store(tmp_path)
    location = run(put(store, IMAGE, DATA))
    asked: list[int] = []
    driver = store._backend.drivers.get()
    get = driver.get
    monkeypatch.setattr(driver, "get", lambda at, offset=0: asked.append(offset) or get(at, offset=offset))
    source = store.open_reader(location)
    try:
        source.open()
        source.reopen(12_000)
        assert read_some(source, 1000) == DATA[12_000:]
        assert asked == [0, 12_000]
        driver.unset_capabilities(capabilities.BitMasks.READ_OFFSET & ~capabilities.BitMasks.READ_ACCESS)
        source.reopen(12_000)
        assert read_some(source, 1000) == DATA[12_000:]
        assert asked == [0, 12_000, 0]
    finally:
        source.close()


def test_the_size_of_what_is_not_there_is_not_zero(stored: tuple[Source, Wayward], monkeypatch: pytest.MonkeyPatch) -> None:
    """The swift driver's get_size says 0 whatever fails."""
    _, driver = stored
    monkeypatch.setattr(driver, "get_size", lambda _: 0)
    store, other = wayward_store()
    monkeypatch.setattr(other, "get_size", lambda _: 0)
    with pytest.raises(NotFound):
        run(store.stat(Location(f"wayward://box/{IMAGE}", "gs")))
    assert run(store.find(IMAGE)) is None
    other.objects[IMAGE] = DATA
    assert run(store.stat(Location(f"wayward://box/{IMAGE}", "gs"))).size == len(DATA)


def test_no_file_stays_open(tmp_path: Path) -> None:
    """Read whole, in part, or not at all; warnings of unclosed files are errors here."""
    store = file_store(tmp_path)
    location = run(put(store, IMAGE, DATA))
    before = threading.active_count()
    for count in (0, 100, len(DATA)):
        source = store.open_reader(location)
        source.open()
        read_some(source, count)
        source.close()
        source.close()
    assert not [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and IMAGE in str(link.readlink())]
    assert threading.active_count() <= before + 2
