"""The file store's own directory: who makes it and when, and that it survives a power cut."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from subject import IMAGE, put, read_all

from glance_stream.errors import StoreDenied, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.file import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("files", tmp_path / "a" / "b" / "images")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Directories made and directories synced, in order."""
    found: list[tuple[str, Path]] = []
    mkdir, fsync = os.mkdir, os.fsync

    def recorded_mkdir(path: Any, *args: Any, **options: Any) -> None:
        found.append(("mkdir", Path(path)))
        mkdir(path, *args, **options)

    def recorded_fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            found.append(("fsync", Path(os.readlink(f"/proc/self/fd/{fd}"))))
        fsync(fd)

    monkeypatch.setattr(os, "mkdir", recorded_mkdir)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    return found


def test_each_level_that_is_made_is_durable_in_its_parent(store: FileStore, tmp_path: Path, steps: list[tuple[str, Path]]) -> None:
    run(put(store, IMAGE, b"abc"))
    levels = [tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/images"]
    made = [step for level in levels for step in (("mkdir", level), ("fsync", level.parent))]
    assert steps == [*made, ("fsync", store.path)]


def test_of_a_directory_that_is_there_no_parent_is_touched(store: FileStore, steps: list[tuple[str, Path]]) -> None:
    os.makedirs(store.path)
    steps.clear()
    run(put(store, IMAGE, b"abc"))
    assert steps == [("fsync", store.path)]


def test_two_stores_may_make_a_level_at_the_same_time(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.mkdir

    def late(path: Any, *args: Any, **options: Any) -> None:
        real(path, *args, **options)
        real(path, *args, **options)  # as if another had been faster

    monkeypatch.setattr(os, "mkdir", late)
    assert read_all(store.open_reader(run(put(store, IMAGE, b"abc")))) == b"abc"


def test_a_level_that_another_makes_meanwhile_is_not_in_the_way(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look that did not find it and the next one."""
    real = os.path.lexists

    def late(path: Path) -> bool:
        if path == store.path.parent:
            os.makedirs(path, exist_ok=True)
        return real(path)

    monkeypatch.setattr(os.path, "lexists", late)
    run(store.open())
    assert read_all(store.open_reader(run(put(store, IMAGE, b"abc")))) == b"abc"


def test_looking_makes_nothing(store: FileStore, tmp_path: Path) -> None:
    location = Location(f"file://{store.path}/{IMAGE}", "files")
    run(store.open())
    store.writer(IMAGE)
    calls: list[Callable[[], Any]] = [
        store.open_reader(location).open,
        lambda: run(store.stat(location)),
        lambda: run(store.find(IMAGE)),
        lambda: run(store.delete(location)),
    ]
    for call in calls:
        with pytest.raises(StoreError):
            call()
    run(store.discard(store.writer(IMAGE).trace))
    assert list(tmp_path.iterdir()) == []
    run(put(store, IMAGE, b"abc"))
    assert store.path.is_dir()


def test_a_read_only_store_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    store = FileStore("files", tmp_path / "images", read_only=True)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is not there"):
            run(store.open())
    assert list(tmp_path.iterdir()) == []
    store.path.mkdir()
    run(store.open())


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "images"


def a_file(path: Path) -> Path:
    path.touch()
    return path


def a_dangling_symlink(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path


def below_a_dangling_symlink(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path / "images"


@pytest.mark.parametrize("make", [below_a_file, a_file, a_dangling_symlink, below_a_dangling_symlink])
def test_what_can_not_be_made_is_denied_by_open_already(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """It will not pass, and it is not a duplicate."""
    store = FileStore("files", make(tmp_path / "thing"))
    with pytest.raises(StoreDenied, match="no directory"):
        run(store.open())
    with pytest.raises(StoreDenied, match="no directory"):
        run(store.open_writer(IMAGE, 3))


def test_what_comes_in_the_way_after_open_is_no_duplicate(tmp_path: Path) -> None:
    store = FileStore("files", tmp_path / "images")
    run(store.open())
    store.path.touch()
    with pytest.raises(StoreDenied, match="no directory"):
        run(store.open_writer(IMAGE, 3))


def test_where_no_directory_may_be_made_open_is_denied(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, int]] = []

    def access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(StoreDenied, match=f"write in {tmp_path}"):
        run(store.open())
    assert asked == [(tmp_path, os.R_OK | os.W_OK | os.X_OK)]


@pytest.mark.parametrize("seen_by", ["open", "writer"])
def test_a_directory_that_was_there_is_not_made_again(store: FileStore, seen_by: str) -> None:
    """It is a mount that is gone: what is written to the disk below would vanish when it is mounted again."""
    if seen_by == "open":
        os.makedirs(store.path)
        run(store.open())
    else:
        run(put(store, IMAGE, b"abc"))
    os.rename(store.path, store.path.with_name("moved"))
    for size in (3, None):
        with pytest.raises(StoreUnavailable):
            run(store.open_writer(IMAGE, size))
    assert not store.path.exists()
