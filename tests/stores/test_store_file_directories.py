"""A store of files over several directories: the suite, and where an image goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from conformance_resume import ResumeConformance
from faults.loop import run
from subject import IMAGE, OTHER, Subject, content, drain_all, read_all

from glance_stream.errors import Duplicate, InvalidRequest, StoreDenied, StoreError, StoreFull, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.file import FileStore
from glance_stream.stores.file.directories import FileDirectoriesStore


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    return [tmp_path / "one", tmp_path / "two", tmp_path / "three"]


@pytest.fixture
def many(directories: list[Path]) -> FileDirectoriesStore:
    return FileDirectoriesStore("many", dict(zip(map(str, directories), (100, 100, 50), strict=True)))


def subject_of(store: FileDirectoriesStore) -> Subject:
    def names(visible: bool) -> list[str]:
        found = [path.name for one in store.directories for path in sorted(one.path.glob("*"))]
        return [name for name in found if name.startswith(".") != visible]

    def corrupt(location: Location) -> None:
        path = Path(location.url.removeprefix("file://"))
        path.write_bytes(bytes(path.stat().st_size))

    return Subject(store, lambda: set(names(True)), lambda: names(False), corrupt)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how much room there is in a directory, by its name."""

    def say(**room: int) -> None:
        async def free_space(self: FileStore) -> int:
            return room[self.path.name]

        monkeypatch.setattr(FileStore, "free_space", free_space)

    return say


class TestFileDirectoriesStore(ResumeConformance, StoreConformance):
    @pytest.fixture
    def subject(self, many: FileDirectoriesStore) -> Subject:
        return subject_of(many)


class TestReadOnlyFileDirectoriesStore(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, directories: list[Path]) -> Subject:
        for directory in directories:
            directory.mkdir()
        data = content(10_000)
        (directories[2] / IMAGE).write_bytes(data)
        subject = subject_of(FileDirectoriesStore("many", dict.fromkeys(map(str, directories), 0), read_only=True))
        subject.stored = Location(f"file://{directories[2]}/{IMAGE}", "many"), data
        return subject


@pytest.mark.parametrize(
    ("room", "size", "thin", "chosen"),
    [
        ({"one": 10, "two": 20, "three": 1000}, 5, False, "two"),
        ({"one": 20, "two": 10, "three": 1000}, 5, False, "one"),
        ({"one": 20, "two": 10, "three": 1000}, None, False, "one"),
        ({"one": 10, "two": 20, "three": 1000}, 15, False, "two"),
        ({"one": 10, "two": 10, "three": 1000}, 15, False, "three"),
        ({"one": 10, "two": 10, "three": 12}, 15, True, "three"),
        ({"one": 0, "two": 0, "three": 1}, None, False, "three"),
    ],
)
def test_an_image_goes_where_there_is_room_first_by_priority_then_by_room(
    many: FileDirectoriesStore, free: Callable[..., None], room: dict[str, int], size: int | None, thin: bool, chosen: str
) -> None:
    free(**room)
    assert run(many.choose(size, thin)).path.name == chosen
    assert run(many.free_space()) == max(room.values())


def test_it_is_full_when_every_directory_is(many: FileDirectoriesStore, free: Callable[..., None]) -> None:
    free(one=10, two=11, three=12)
    with pytest.raises(StoreFull, match="13 bytes, free are 12"):
        run(many.open_writer(IMAGE, 13))
    assert run(many.strays()) == []


@pytest.mark.parametrize("number", range(3))
def test_an_image_is_found_wherever_it_is(many: FileDirectoriesStore, directories: list[Path], number: int) -> None:
    for directory in directories:
        directory.mkdir()
    (directories[number] / IMAGE).write_bytes(b"abc")
    location = Location(f"file://{directories[number]}/{IMAGE}", "many")
    assert run(many.find(IMAGE)) == location
    assert read_all(many.open_reader(location)) == b"abc"
    with pytest.raises(Duplicate):
        run(many.open_writer(IMAGE, 3))
    run(many.delete(location))
    assert not list(directories[number].iterdir())


def test_where_a_directory_is_missing_nothing_is_written_but_what_is_there_is_read(
    many: FileDirectoriesStore, directories: list[Path]
) -> None:
    for directory in directories:
        directory.mkdir()
    run(many.open())
    (directories[0] / IMAGE).write_bytes(b"abc")
    directories[2].rmdir()
    assert run(many.find(IMAGE)) == Location(f"file://{directories[0]}/{IMAGE}", "many")
    with pytest.raises(StoreError):
        run(many.find(OTHER))
    with pytest.raises(StoreError):
        run(many.open_writer(OTHER, 3))
    assert not directories[2].exists()


@pytest.mark.parametrize("missing", range(3))
def test_a_new_process_does_not_make_what_is_missing_beside_others(
    many: FileDirectoriesStore, directories: list[Path], missing: int
) -> None:
    """A disk that is not mounted: its mount point's file system would be filled, and the images hidden later."""
    for directory in directories:
        directory.mkdir()
    directories[missing].rmdir()
    with pytest.raises(StoreUnavailable, match=f"{directories[missing]} is not there: is it mounted"):
        run(many.open_writer(OTHER, 3))
    assert not directories[missing].exists()
    directories[missing].mkdir()
    run(_drained(many, b"abc"))


def test_writers_that_come_first_at_once_make_them_together(many: FileDirectoriesStore, directories: list[Path]) -> None:
    async def scenario() -> None:
        writers = await asyncio.gather(*(many.open_writer(name, 3) for name in (IMAGE, OTHER)))
        for writer in writers:
            await writer.abort()

    run(scenario())
    assert all(directory.is_dir() for directory in directories)


def test_thin_is_the_stores_own_where_it_is_configured(tmp_path: Path) -> None:
    data = b"x" * 4096 + bytes(1 << 20)
    for thin in (False, True):
        store = FileDirectoriesStore("many", {f"{tmp_path}/{thin}": 0}, thin=thin)
        run(_drained(store, data))
        assert (os.stat(tmp_path / f"{thin}" / IMAGE).st_blocks * 512 < len(data)) is thin


async def _drained(store: FileDirectoriesStore, data: bytes) -> Location:
    writer = await store.open_writer(IMAGE, len(data))
    drain_all(writer, data)
    await writer.flush(len(data))
    return await writer.commit(len(data), {})


@pytest.mark.parametrize("directories", [{}, {"relative": 1}])
def test_directories_are_absolute_paths(directories: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match="absolute"):
        FileDirectoriesStore("many", directories)


def test_a_directory_that_can_not_be_made_is_denied(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FileDirectoriesStore("many", {f"{tmp_path}/one": 1, f"{tmp_path}/file": 0})
    with pytest.raises(StoreDenied):
        run(store.open())
