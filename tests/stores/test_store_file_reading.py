"""What the file store takes for an image: a regular file under the image's own name, and nothing else."""

from __future__ import annotations

import os
import socket
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
    return FileStore("files", tmp_path)


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(f"file://{tmp_path}/{IMAGE}", "files")


def symlink(path: Path) -> None:
    path.with_name("secret").write_bytes(b"secret")
    path.symlink_to(path.with_name("secret"))


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        os.chdir(path.parent)  # a socket's whole path may have 107 bytes only
        try:
            one.bind(path.name)
        finally:
            os.fchdir(before)
            os.close(before)


STRANGE: list[Callable[[Path], Any]] = [symlink, lambda path: path.symlink_to("nowhere"), os.mkfifo, Path.mkdir, listen]
NAMES = ["symlink", "dangling", "fifo", "directory", "socket"]


@pytest.mark.parametrize("make", STRANGE, ids=NAMES)
def test_only_a_regular_file_is_an_image(store: FileStore, location: Location, make: Callable[[Path], Any]) -> None:
    """It is never read, never measured, never found and never removed; and a FIFO keeps nobody waiting."""
    make(store.path / IMAGE)
    source = store.open_reader(location)
    calls: list[Callable[[], Any]] = [
        source.open,
        lambda: run(store.stat(location)),
        lambda: run(store.find(IMAGE)),
        lambda: run(store.delete(location)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="is not a regular file") as caught:
            call()
        assert type(caught.value) is StoreError
    source.close()
    assert os.path.lexists(store.path / IMAGE)


@pytest.mark.parametrize("make", [symlink, os.mkfifo, listen])
def test_what_takes_the_images_place_while_it_is_opened_is_not_read(
    store: FileStore, location: Location, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any]
) -> None:
    path = store.path / IMAGE
    path.write_bytes(b"abc")
    real = os.open

    def late(opened: Any, *args: Any, **options: Any) -> int:
        if Path(opened) == path:
            path.unlink()
            make(path)
        return real(opened, *args, **options)

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late)
        with pytest.raises(StoreError):
            store.open_reader(location).open()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_store_may_be_reached_through_a_symlink(store: FileStore, tmp_path: Path) -> None:
    """That is how the operator has laid out the site; only an image's own name must be the image."""
    (tmp_path / "real").mkdir()
    (tmp_path / "images").symlink_to("real")
    store = FileStore("files", tmp_path / "images")
    location = run(put(store, IMAGE, b"abc"))
    assert read_all(store.open_reader(location)) == b"abc"
    assert run(store.stat(location)).size == 3
    run(store.delete(location))


def test_a_file_that_may_not_be_read_is_denied(store: FileStore, location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    run(put(store, IMAGE, b"abc"))
    monkeypatch.setattr(os, "open", raising(PermissionError(13, "Permission denied")))
    with pytest.raises(StoreDenied):
        store.open_reader(location).open()


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    return fail


# -- a store that is not mounted --------------------------------------------------------------------------------------------------


def unlinked(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replaced(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.write_bytes(b"")


@pytest.mark.parametrize("unmount", [unlinked, replaced])
def test_where_the_store_is_not_there_no_image_is_known_to_be_missing(tmp_path: Path, unmount: Callable[[Path], None]) -> None:
    """Told apart from an image that is gone: what is gone is forgotten by `delete`, `recover` and every rollback."""
    store = FileStore("files", tmp_path / "images")
    location = run(put(store, IMAGE, b"abc"))
    unmount(store.path)
    calls: list[Callable[[], Any]] = [
        store.open_reader(location).open,
        lambda: run(store.stat(location)),
        lambda: run(store.find(IMAGE)),
        lambda: run(store.delete(location)),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
