"""Writing through drivers that do wrong: whatever they do, there is the whole image afterwards, or nothing and an error."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from faults.loop import run
from glance_store import exceptions
from glance_store_drivers import Wayward, file_store, files_below, install_wayward, wayward_store
from subject import IMAGE, OTHER, SLOT, Drain, content, drain_all, put, read_all, write_all

from glance_stream.chunker import LaneStopped, Ring
from glance_stream.errors import Duplicate, ObjectBusy, StoreDenied, StoreError, StoreFull, StoreUnavailable
from glance_stream.stores.base import Writer
from glance_stream.stores.glance_store import GlanceStoreStore

DATA = content(12_345)


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_wayward(tmp_path / "site", monkeypatch)


@pytest.fixture(autouse=True)
def _no_thread_is_left_in_a_driver(_installed: None) -> Iterator[None]:
    yield
    frames: list[FrameType | None] = list(sys._current_frames().values())
    for frame in frames:
        while frame is not None:
            assert frame.f_code is not Wayward.add.__code__
            frame = frame.f_back


async def import_as_a_transfer_does(store: GlanceStoreStore, size_hint: int | None) -> None:
    """Raises what fails, after the abort."""
    writer = await store.open_writer(IMAGE, size_hint)
    try:
        await asyncio.to_thread(write_all, writer, DATA)
        await writer.flush(len(DATA))
        await writer.commit(len(DATA), {"sha256": hashlib.sha256(DATA).hexdigest()})
    except StoreError:
        await writer.abort()
        raise


@pytest.mark.parametrize("size_hint", [len(DATA), None], ids=["size known", "size unknown"])
@pytest.mark.parametrize("does", [[], ["iterates"], ["never asks for the end"]], ids=str)
def test_no_driver_is_done_before_the_commit(does: list[str], size_hint: int | None) -> None:
    if size_hint is None and "never asks for the end" in does:
        size_hint = len(DATA)  # there it would read nothing
    store, driver = wayward_store(*does)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, size_hint)
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        await asyncio.sleep(0.05)
        assert len(driver.objects[IMAGE]) < len(DATA)
        assert writer._add is not None
        assert not writer._add.done()
        await writer.commit(len(DATA), {})
        assert driver.objects[IMAGE] == DATA

    run(scenario())


@pytest.mark.parametrize("state", ["fresh", "half written", "flushed"])
@pytest.mark.parametrize("does", ["swallows errors", "leaves parts"])
def test_abort_removes_what_a_driver_leaves(does: str, state: str) -> None:
    """One takes the part for the whole and says so, the other does not clean up."""
    store, driver = wayward_store(does)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        if state != "fresh":
            write_all(writer, DATA)
        if state == "flushed":
            await writer.flush(len(DATA))
        await writer.abort()
        assert driver.objects == {}
        await put(store, IMAGE, b"another's")
        await writer.abort()
        assert driver.objects == {IMAGE: b"another's"}

    run(scenario())


@pytest.mark.parametrize(
    "does",
    ["stops early", "wrong size", "wrong digest", "loses the tail", "odd metadata", "invents credentials", "reads everything"],
)
@pytest.mark.parametrize("size_hint", [len(DATA), None], ids=["size known", "size unknown"])
def test_nothing_comes_of_a_driver_that_does_wrong(does: str, size_hint: int | None) -> None:
    store, driver = wayward_store(does)

    async def scenario() -> None:
        with pytest.raises(StoreError) as caught:
            await import_as_a_transfer_does(store, size_hint)
        assert "se/cret" not in str(caught.value)
        assert driver.objects == {}
        assert await store.find(IMAGE) is None

    run(scenario())


def test_the_digests_that_a_driver_computes_are_compared() -> None:
    store, driver = wayward_store()

    async def scenario(digests: dict[str, str]) -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        try:
            await writer.commit(len(DATA), digests)
        finally:
            await writer.abort()

    for wrong in ({"md5": "00"}, {"sha256": "00"}):
        with pytest.raises(StoreError, match=next(iter(wrong))):
            run(scenario(wrong))
        assert driver.objects == {}
    run(scenario({name: hashlib.new(name, DATA).hexdigest() for name in ("md5", "sha256", "sha512")}))
    assert driver.objects == {IMAGE: DATA}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (exceptions.Duplicate(image=IMAGE), Duplicate),
        (exceptions.StorageFull(), StoreFull),
        (exceptions.StorageWriteDenied(), StoreDenied),
        (exceptions.InUseByStore(), ObjectBusy),
        (exceptions.RemoteServiceUnavailable(), StoreUnavailable),
        (exceptions.Invalid("no good"), StoreError),
        (OSError(28, "No space left on device"), StoreFull),
        (OSError(5, "Input/output error"), StoreUnavailable),
        (ValueError("a bug"), StoreError),
        (SystemExit(3), StoreError),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else each.__name__,
)
@pytest.mark.parametrize("when", ["fails before reading", "fails at the end"])
def test_what_a_driver_raises_is_mapped(raised: Exception, expected: type[StoreError], when: str) -> None:
    store, driver = wayward_store(when)
    driver.raises = raised
    with pytest.raises(StoreError) as caught:
        run(import_as_a_transfer_does(store, len(DATA)))
    assert type(caught.value) is expected
    assert driver.objects == {}
    driver.does.clear()
    run(import_as_a_transfer_does(store, len(DATA)))


def test_a_duplicate_is_left_alone_by_the_abort() -> None:
    store, driver = wayward_store("fails at the end", "leaves parts")
    driver.raises = exceptions.Duplicate(image=IMAGE)
    with pytest.raises(Duplicate):
        run(import_as_a_transfer_does(store, len(DATA)))
    assert IMAGE in driver.objects


def test_abort_waits_for_a_driver_that_hangs() -> None:
    """It may write as long as it has not returned. Giving up the waiting is for the caller; a later abort finds it ended."""
    store, driver = wayward_store("hangs after an error", "leaves parts")

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.abort(), 0.2)
        assert IMAGE in driver.objects
        with pytest.raises(Duplicate):
            await store.open_writer(IMAGE, 3)
        assert await store.find(IMAGE) is None
        driver.may_go_on.set()
        await writer.abort()
        assert driver.objects == {}
        await put(store, IMAGE, b"again")

    run(scenario())


def test_an_opening_that_hangs_can_be_aborted() -> None:
    store, driver = wayward_store("hangs before reading")

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.open(3), 0.2)
        aborting = asyncio.ensure_future(writer.abort())
        await asyncio.sleep(0.05)
        assert not aborting.done()
        driver.may_go_on.set()
        await aborting
        assert driver.objects == {}

    run(scenario())


def test_a_write_that_waits_for_a_driver_ends_with_the_abort() -> None:
    store, driver = wayward_store("hangs before reading")

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        opening = asyncio.ensure_future(writer.open(None))
        await asyncio.to_thread(driver.called.wait, 10)
        writing = asyncio.ensure_future(asyncio.to_thread(write_all, writer, DATA))
        await asyncio.sleep(0.05)
        assert not writing.done()
        aborting = asyncio.ensure_future(writer.abort())
        with pytest.raises(StoreError):
            await asyncio.wait_for(writing, 5)
        driver.may_go_on.set()
        await aborting
        await asyncio.wait([opening])
        opening.exception()

    run(scenario())


def test_a_leftover_that_can_not_be_removed_is_an_error_until_it_can() -> None:
    store, driver = wayward_store("leaves parts", "keeps everything")
    driver.raises = exceptions.Forbidden()

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        write_all(writer, DATA)
        for _ in range(2):
            with pytest.raises(StoreDenied):
                await writer.abort()
        driver.does.discard("keeps everything")
        await writer.abort()
        assert driver.objects == {}

    run(scenario())


def test_more_than_was_announced_is_refused_before_the_driver_can_be_done() -> None:
    store, driver = wayward_store("never asks for the end")

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA) - 1)
        with pytest.raises(StoreError, match="announced"):
            write_all(writer, DATA)
        await writer.abort()
        assert driver.objects == {}

    run(scenario())


def test_less_than_was_announced_is_refused() -> None:
    store, driver = wayward_store()
    with pytest.raises(StoreError):
        run(import_as_a_transfer_does(store, len(DATA) + 1))
    assert driver.objects == {}


def test_a_ring_that_fails_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    """Through glance_store's own driver, which cleans up after an OSError of the file that it reads."""
    store = file_store(tmp_path / "images")

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3 * SLOT)
        ring = Ring(2, SLOT)
        drain = Drain(writer, ring)
        for _ in range(2):
            with ring.reserve() as view:
                view[:] = b"x" * SLOT
            ring.publish(SLOT)
        ring.fail()
        assert isinstance(drain.outcome(), LaneStopped)
        await writer.abort()

    run(scenario())
    assert files_below(tmp_path / "images") == set()


def test_several_stores_share_a_driver(tmp_path: Path) -> None:
    stores = [file_store(tmp_path / name, name, filesystem_store_chunk_size=size) for name, size in (("a", 1000), ("b", 5000))]
    for store in stores:
        location = run(put(store, IMAGE, DATA))
        assert location.url == f"file://{tmp_path}/{store.store_id}/{IMAGE}"
        assert read_all(store.open_reader(location)) == DATA
        assert [other.owns(location.url) for other in stores] == [other is store for other in stores]


def test_aligned_reads_come_through_uneven_writes(tmp_path: Path) -> None:
    """The filesystem driver looks for zeros chunk by chunk: only aligned chunks become holes."""
    store = file_store(tmp_path, filesystem_thin_provisioning=True)
    data = b"x" + bytes(1 << 20) + b"y"

    async def scenario() -> None:
        writer: Writer = await store.open_writer(IMAGE, len(data))
        drain_all(writer, data)
        await writer.flush(len(data))
        await writer.commit(len(data), {})

    run(scenario())
    assert (tmp_path / IMAGE).read_bytes() == data
    assert (tmp_path / IMAGE).stat().st_blocks * 512 <= 256 << 10


def test_two_images_at_once_by_one_driver() -> None:
    store, driver = wayward_store()

    async def scenario() -> None:
        await asyncio.gather(put(store, IMAGE, DATA), put(store, OTHER, DATA[::-1]))
        assert driver.objects == {IMAGE: DATA, OTHER: DATA[::-1]}

    run(scenario())


def test_metadata_of_the_driver_is_kept_but_for_the_store() -> None:
    store, _ = wayward_store("tells more")
    assert run(put(store, IMAGE, DATA)).metadata == {"rack": "7"}
