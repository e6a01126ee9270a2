"""Whole imports into file stores beside a script that does the same: copy, hash, make durable. And what the records cost."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glance_stream import loop
from glance_stream.catalogue import Catalogue
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import TransferRequest, transfer

SMALL_IMPORTS = 20

counts = pytest.mark.parametrize("count", [1, 3])


@pytest.fixture
def directories(tmp_path: Path, count: int) -> list[Path]:
    paths = [tmp_path / str(number) for number in range(count)]
    for path in paths:
        path.mkdir()
    return paths


@pytest.fixture
def emptied(directories: list[Path]) -> Callable[[], None]:
    """emptied(): before each round, so that no round pays for what the one before left."""

    def emptied() -> None:
        for directory in directories:
            for path in directory.iterdir():
                path.unlink()

    return emptied


def imported(source: Path, directories: list[Path]) -> str:
    stores = [FileStore(str(path), path) for path in directories]
    request = TransferRequest(str(uuid.uuid4()), PathSource(source), stores)
    return loop.run(transfer(request)).verified.os_hash_value


def sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


@counts
def test_ours(
    measure: Callable[..., Any], source: Path, size: int, directories: list[Path], emptied: Callable[[], None], count: int
) -> None:
    digest = measure(f"import into {count}", lambda: imported(source, directories), size, emptied)
    [image] = directories[-1].iterdir()
    assert digest == sha512(image) == sha512(source)
    emptied()


@counts
def test_copyfile_and_hashlib(
    measure: Callable[..., Any], source: Path, size: int, directories: list[Path], emptied: Callable[[], None], count: int
) -> None:
    """`shutil.copyfile` copies within the kernel: the fastest copy a script has. Synced, for ours is."""

    def run() -> str:
        for directory in directories:
            shutil.copyfile(source, directory / "image")
            sync(directory / "image")
            sync(directory)
        return sha512(source)

    assert measure(f"import into {count}", run, size, emptied) == sha512(directories[-1] / "image")
    emptied()


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("count", [1])
def test_small_imports(
    measure: Callable[..., Any], tmp_path: Path, directories: list[Path], emptied: Callable[[], None], count: int
) -> None:
    """What an import costs beside its bytes: threads, ring, syncs, names."""
    tiny = tmp_path / "tiny"
    tiny.write_bytes(b"x" * 4096)

    def run() -> None:
        for _ in range(SMALL_IMPORTS):
            imported(tiny, directories)

    measure(f"{SMALL_IMPORTS} imports of 4 KiB", run, setup=emptied)
    assert len(list(directories[0].iterdir())) == SMALL_IMPORTS


def test_catalogue_commits(measure: Callable[..., Any], tmp_path: Path) -> None:
    """A new record in SQLite: one durable commit each."""
    with Catalogue(f"sqlite:///{tmp_path}/catalogue.db") as catalogue:

        def run() -> None:
            for _ in range(SMALL_IMPORTS):
                catalogue.create_image(str(uuid.uuid4()), name="bench", disk_format="raw", container_format="bare")

        measure(f"{SMALL_IMPORTS} catalogue commits", run)
        assert len(catalogue.list_images()) >= SMALL_IMPORTS
