"""Opening a writer of the file store: what may be left of it, and what is removed."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from subject import IMAGE

from glance_stream import threads
from glance_stream.errors import StoreError
from glance_stream.stores.file import FileStore
from glance_stream.stores.file import writer as file_writer


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("files", tmp_path / "images")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_opening_that_hangs_is_waited_for_by_the_abort(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes into being after all, and is gone when the abort has returned; no descriptor is left of it."""
    reached, go, real = threading.Event(), threading.Event(), os.open

    def late(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(".part"):
            reached.set()
            assert go.wait(20)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", late)

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        opening = asyncio.ensure_future(writer.open(3))
        assert await threads.call(reached.wait, 20)
        opening.cancel()
        await asyncio.wait([opening])
        before = descriptors()
        aborting = asyncio.ensure_future(writer.abort())
        await asyncio.wait([aborting], timeout=0.1)
        assert not aborting.done()
        go.set()
        await aborting
        assert (list(store.path.iterdir()), descriptors()) == ([], before)

    run(scenario())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EIO])
def test_abort_after_a_refused_creation(store: FileStore, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Where nothing can have been made nothing is removed: it would fail for the same reason, or be another's file."""
    removed: list[Path] = []
    store.path.mkdir()

    async def scenario() -> None:
        writer = store.writer(IMAGE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", lambda *args, **options: raise_os_error(code))
            with pytest.raises(StoreError):
                await writer.open(3)
        monkeypatch.setattr(file_writer, "remove_durably", removed.append)
        await writer.abort()

    run(scenario())
    assert len(removed) == (code == errno.EIO)  # the answer may have been lost


def raise_os_error(code: int) -> int:
    raise OSError(code, os.strerror(code))


def test_where_no_file_can_be_there_is_none_to_discard(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for store in (FileStore("files", tmp_path / "file" / "below"), FileStore("files", tmp_path / "missing")):
        run(store.discard(store.writer(IMAGE).trace))
    run(FileStore("files", tmp_path).discard(FileStore("files", tmp_path).writer("x" * 250).trace))
