"""A file writer whose system calls report failure: fsync once, close at all, link although it took effect."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from subject import IMAGE, write_all

from glance_stream.errors import StoreError, StoreUnavailable
from glance_stream.stores.file import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("disk", tmp_path / "images")


def failing(real: Callable[..., Any], *, late: bool = False) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> None:
        if late:
            real(*args, **options)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    return fail


def test_a_failed_fsync_is_not_tried_again(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped the pages and told it once: the next fsync would go well (PostgreSQL's "fsyncgate")."""

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(os.fsync))
            with pytest.raises(StoreUnavailable):
                await writer.flush(3)
        with pytest.raises(StoreUnavailable, match="fsync failed before"):
            await writer.flush(3)
        with pytest.raises(StoreError):
            await writer.commit(3, {})
        await writer.abort()
        assert list(store.path.iterdir()) == []

    run(scenario())


def test_a_failed_close_is_not_tried_again(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is free after it, and may be another file's already. What was committed was synced before."""

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        with monkeypatch.context() as patch:
            patch.setattr(os, "close", failing(os.close, late=True))
            patch.setattr("glance_stream.stores.file.writer.sync_directory", lambda path: None)  # it closes too
            await writer.commit(3, {})
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(9)]
        await writer.abort()
        for fd in others:
            os.close(fd)
        assert (store.path / IMAGE).read_bytes() == b"abc"

    run(scenario())


@pytest.mark.parametrize("call", ["link", "rename"])
def test_a_link_that_failed_but_took_effect_is_undone(store: FileStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """As when a network file system loses the answer. Left alone it would be an image that no record knows."""

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        with monkeypatch.context() as patch:
            if call == "rename":
                patch.setattr(os, "link", no_links)
            patch.setattr(os, call, failing(getattr(os, call), late=True))
            with pytest.raises(StoreError):
                await writer.commit(3, {})
        assert (store.path / IMAGE).exists()
        await writer.abort()
        assert await writer.published() is None
        assert list(store.path.iterdir()) == []

    run(scenario())


def no_links(*args: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_link_that_failed_takes_nothing_of_another(store: FileStore) -> None:
    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        await writer.flush(3)
        (store.path / IMAGE).write_bytes(b"somebody's")
        with pytest.raises(StoreError):
            await writer.commit(3, {})
        await writer.abort()
        assert (store.path / IMAGE).read_bytes() == b"somebody's"

    run(scenario())
