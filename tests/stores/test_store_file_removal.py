"""What a file store removes stays removed when the power fails: no record names it any more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from faults.loop import run
from subject import IMAGE, write_all

from glance_stream.stores.file import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("disk", tmp_path / "images")


@pytest.fixture
def calls(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Removals and syncs of the store's directory, as they come."""
    found: list[str] = []
    unlink, fsync = os.unlink, os.fsync

    def unlinked(path: Path, **options: int) -> None:
        found.append("unlink")
        unlink(path, **options)

    def synced(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            found.append("sync")
        fsync(fd)

    monkeypatch.setattr(os, "unlink", unlinked)
    monkeypatch.setattr(os, "fsync", synced)
    return found


def test_an_abort_is_durable(store: FileStore, calls: list[str]) -> None:
    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        calls.clear()
        await writer.abort()

    run(scenario())
    assert calls == ["unlink", "sync"]


@pytest.mark.parametrize("there", [True, False])
def test_a_discard_is_durable(store: FileStore, calls: list[str], there: bool) -> None:
    """Also when it is gone already: whoever removed it may not have come to the sync."""

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        write_all(writer, b"abc")
        if not there:
            await writer.abort()
        calls.clear()
        await store.discard(writer.trace)
        await writer.abort()

    run(scenario())
    assert calls[:2] == ["unlink", "sync"]


def test_a_discard_where_the_directory_is_gone(store: FileStore) -> None:
    async def scenario() -> None:
        writer = store.writer(IMAGE)
        await store.discard(writer.trace)

    run(scenario())
    assert not store.path.exists()
