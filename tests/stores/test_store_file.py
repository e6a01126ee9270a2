"""The file store: the suite, and what only files can do wrong."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from conformance_resume import ResumeConformance
from faults.loop import run
from subject import IMAGE, SLOT, Subject, content, drain_all, put, read_all, write_all

from glance_stream.chunker import LaneStopped, Ring
from glance_stream.errors import Duplicate, StoreDenied, StoreError, StoreFull, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.file import writer as file_writer


def subject_of(store: FileStore) -> Subject:
    def names(visible: bool) -> list[str]:
        return [path.name for path in sorted(store.path.glob("*")) if path.name.startswith(".") != visible]

    def corrupt(location: Location) -> None:
        path = Path(location.url.removeprefix("file://"))
        path.write_bytes(bytes(path.stat().st_size))

    return Subject(store, lambda: set(names(True)), lambda: names(False), corrupt)


class TestFileStore(ResumeConformance, StoreConformance):
    @pytest.fixture(params=["img", "Bär 50%20/β"], ids=["plain", "strange path"])
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
        return subject_of(FileStore("Bär", tmp_path / request.param))


class TestReadOnlyFileStore(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        (tmp_path / IMAGE).write_bytes(content(5000))
        subject = subject_of(FileStore("files", tmp_path, read_only=True))
        subject.stored = (Location(f"file://{tmp_path}/{IMAGE}", "files"), content(5000))
        return subject


class TestFileStoreWithoutHardLinks(ResumeConformance, StoreConformance):
    """Some network and FUSE file systems have none."""

    @pytest.fixture
    def subject(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
        def link(old: Path, new: Path) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", link)
        return subject_of(FileStore("files", tmp_path / "img"))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("files", tmp_path / "img")


def only_file(store: FileStore) -> Path:
    (path,) = store.path.iterdir()
    return path


# -- layout and order -----------------------------------------------------------------------------------------------------


def test_layout_is_glance_stores(store: FileStore) -> None:
    location = run(put(store, IMAGE, b"abc"))
    assert location.url == f"file://{store.path}/{IMAGE}"
    assert only_file(store) == store.path / IMAGE
    assert only_file(store).read_bytes() == b"abc"


def test_the_temporary_file_is_hidden_and_beside_the_final_one(store: FileStore) -> None:
    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        assert only_file(store).name.startswith(f".{IMAGE}.")
        assert writer.trace == f"file://{only_file(store)}"
        assert not store.owns(writer.trace)
        await writer.abort()

    run(scenario())


def test_order_is_sync_file_link_sync_directory(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_directory = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            calls.append("fsync directory" if is_directory else name)
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "link", "unlink", "rename"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    store.path.mkdir()
    run(put(store, IMAGE, b"abc"))
    assert [call for call in calls if call != "unlink"] == ["fsync", "link", "fsync directory"]


@pytest.mark.parametrize("failing", ["fsync", "unlink"])
def test_a_commit_that_is_not_durable_is_taken_back(store: FileStore, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EIO, "I/O error")

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        with monkeypatch.context() as patch:
            patch.setattr(file_writer, {"fsync": "sync_directory", "unlink": "remove_if_there"}[failing], fail)
            with pytest.raises(StoreUnavailable):
                await writer.commit(3, {})
        await writer.abort()
        assert list(store.path.iterdir()) == []

    run(scenario())


def test_a_lost_answer_to_our_own_link_is_not_a_duplicate(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS sends a request again when the answer is lost, and its second execution finds the first one's link."""
    real = os.link

    def link_twice(old: Path, new: Path) -> None:
        real(old, new)
        real(old, new)

    monkeypatch.setattr(os, "link", link_twice)
    assert read_all(store.open_reader(run(put(store, IMAGE, b"abc")))) == b"abc"


def test_thin_leaves_holes(store: FileStore) -> None:
    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 64 * SLOT, thin=True)
        drain_all(writer, bytes(64 * SLOT))
        await writer.flush(64 * SLOT)
        await writer.commit(64 * SLOT, {})

    run(scenario())
    assert only_file(store).stat().st_blocks == 0


# -- what the operating system refuses ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[FileStore]:
    """A file system of its own with room for 8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield FileStore("files", path)
    subprocess.run(["umount", "--lazy", path], check=True)


def test_full_is_seen_before_the_first_byte(small_disk: FileStore) -> None:
    with pytest.raises(StoreFull):
        run(small_disk.open_writer(IMAGE, 9 << 20))
    assert list(small_disk.path.iterdir()) == []


def test_a_file_system_that_is_read_only_is_called_that(small_disk: FileStore) -> None:
    """No permission would help, and root has them all."""
    subprocess.run(["mount", "-o", "remount,ro", small_disk.path], check=True)
    for store in (small_disk, FileStore("below", small_disk.path / "images")):
        with pytest.raises(StoreDenied, match=f"{small_disk.path} can't be written to: the file system is read-only"):
            run(store.open())


def test_thin_is_not_refused_for_its_size(small_disk: FileStore) -> None:
    async def scenario() -> None:
        writer = await small_disk.open_writer(IMAGE, 64 << 20, thin=True)
        drain_all(writer, bytes(64 << 20))
        await writer.flush(64 << 20)
        await writer.commit(64 << 20, {})

    run(scenario())


def write_too_much(writer: Writer) -> None:
    write_all(writer, bytes(9 << 20))


def drain_too_much(writer: Writer) -> None:
    ring = Ring(2, 1 << 20)
    lane = writer.attach(ring)

    def produce() -> None:
        try:
            for _ in range(12):
                ring.reserve().release()
                ring.publish(1 << 20)
        except LaneStopped:
            pass

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    try:
        writer.drain(lane)
    finally:
        ring.fail()
        producer.join(20)


@pytest.mark.parametrize("fill", [write_too_much, drain_too_much])
def test_full_in_mid_write_leaves_nothing(small_disk: FileStore, fill: Callable[[Writer], None]) -> None:
    async def scenario() -> None:
        writer = await small_disk.open_writer(IMAGE, None)
        with pytest.raises(StoreFull):
            fill(writer)
        await writer.abort()

    run(scenario())
    assert list(small_disk.path.iterdir()) == []


def test_a_read_only_remount_is_denied(small_disk: FileStore) -> None:
    location = run(put(small_disk, IMAGE, b"abc"))
    subprocess.run(["mount", "-o", "remount,ro", small_disk.path], check=True)
    with pytest.raises(StoreDenied):
        run(small_disk.open_writer("other", 3))
    with pytest.raises(StoreDenied):
        run(small_disk.delete(location))
    with pytest.raises(StoreDenied):
        run(FileStore("files", small_disk.path / "below").open())
    assert read_all(small_disk.open_reader(location)) == b"abc"


def test_a_directory_that_vanished_is_unavailable(store: FileStore) -> None:
    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        store.path.rename(store.path.with_name("moved"))
        with pytest.raises(StoreUnavailable):
            await writer.commit(3, {})
        with pytest.raises(StoreUnavailable, match="is it mounted"):
            await writer.abort()  # what it has written is somewhere
        with pytest.raises(StoreUnavailable):
            await store.open_writer(IMAGE, 3)

    run(scenario())


def test_a_directory_in_the_place_of_the_image_is_a_duplicate(store: FileStore) -> None:
    (store.path / IMAGE).mkdir(parents=True)
    with pytest.raises(Duplicate):
        run(store.open_writer(IMAGE, 3))


# -- descriptors ----------------------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_leaked(store: FileStore) -> None:
    async def one(number: int) -> None:
        writer = await store.open_writer(f"image-{number}", 3)
        if number % 5 == 0:
            return await writer.abort()
        write_all(writer, b"abc")
        if number % 5 == 1:
            return await writer.abort()
        if number % 5 == 2:
            with pytest.raises(StoreError):
                await writer.flush(4)
            return await writer.abort()
        await writer.flush(3)
        if number % 5 == 3:
            with pytest.raises(StoreError):
                await writer.commit(4, {})
            return None
        await writer.commit(3, {})
        return None

    async def scenario() -> None:
        await one(0)
        before = descriptors()
        for number in range(1, 101):
            await one(number)
        assert descriptors() == before

    run(scenario())


def test_abort_leaves_the_descriptor_to_a_drain_under_way(store: FileStore) -> None:
    """A number that is closed and used again would send the drain's next write into another file."""
    before = descriptors()

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        ring = Ring(2, SLOT)
        lane = writer.attach(ring)
        ended: list[Exception] = []
        thread = threading.Thread(target=lambda: ended.append(outcome_of(writer.drain, lane)), daemon=True)
        thread.start()
        with ring.reserve() as view:
            view[:] = b"x" * SLOT
        ring.publish(SLOT)
        while lane.position < SLOT:
            thread.join(0.01)  # the drain now waits for a slot, the descriptor in its hands
        await writer.abort()
        assert list(store.path.iterdir()) == []
        assert descriptors() == before + 1 + loop_descriptors
        ring.reserve().release()
        ring.publish(SLOT)  # written to the file that has no name any more
        ring.fail()
        thread.join(20)
        assert isinstance(ended[0], LaneStopped)
        assert descriptors() == before + loop_descriptors

    async def count() -> int:
        return descriptors() - before

    loop_descriptors = run(count())
    run(scenario())


def outcome_of(fn: Callable[..., None], *args: Any) -> Exception:
    try:
        fn(*args)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_a_fifo_is_not_an_image(store: FileStore) -> None:
    store.path.mkdir()
    os.mkfifo(store.path / IMAGE)
    with pytest.raises(Duplicate):
        run(store.open_writer(IMAGE, 3))


def test_a_file_that_took_the_place_of_a_lost_commit_is_not_named(tmp_path: Path) -> None:
    """Whatever has the image's name now, with the same size and even the same inode number, is not this writer's."""
    store = FileStore("files", tmp_path)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        (tmp_path / IMAGE).write_bytes(b"xyz")
        with pytest.raises(Duplicate):
            await writer.commit(3, {})
        await writer.abort()
        assert await writer.published() is None

    run(scenario())
    assert (tmp_path / IMAGE).read_bytes() == b"xyz"


def test_a_commit_that_nobody_was_told_of_is_named(tmp_path: Path) -> None:
    store = FileStore("files", tmp_path)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        assert await writer.published() is None
        write_all(writer, b"abc")
        await writer.flush(3)
        location = await writer.commit(3, {})
        await writer.abort()
        assert await writer.published() == location
        await store.delete(location)
        assert await writer.published() is None

    run(scenario())


def test_another_file_with_the_inode_of_a_committed_one_is_not_named(tmp_path: Path) -> None:
    """Ours was removed and its inode given to the next file: only when it was written tells them apart."""
    store = FileStore("files", tmp_path)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        await writer.commit(3, {})
        os.utime(tmp_path / IMAGE, (2**30, 2**30))
        assert await writer.published() is None

    run(scenario())


def test_two_names_of_one_directory_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, link, other = (FileStore(name, tmp_path / name) for name in ("real", "link", "other"))
    assert run(one.places()) == run(link.places()) != run(other.places())
