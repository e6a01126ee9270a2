"""``file_perm`` of the file store: how it is written, what is refused, and who may read a file at which moment."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.loop import run
from subject import IMAGE, put

from glance_stream.config import StoreConfig
from glance_stream.errors import InvalidRequest
from glance_stream.stores import build
from glance_stream.stores.file import FileStore


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("file_perm", "mode"),
    [(None, 0o640), (600, 0o600), (644, 0o644), (640, 0o640), ("640", 0o640), ("0640", 0o640), ("0o640", 0o640), ("666", 0o666)],
)
def test_file_perm(tmp_path: Path, file_perm: int | str | None, mode: int) -> None:
    run(put(FileStore("files", tmp_path, file_perm=file_perm), IMAGE, b"abc"))
    assert mode_of(tmp_path / IMAGE) == mode


@pytest.mark.parametrize("written", ["640", "'640'", "'0640'", "'0o640'"])
def test_as_it_is_written_in_the_configuration(tmp_path: Path, written: str) -> None:
    options = {"path": str(tmp_path), **tomllib.loads(f"file_perm = {written}")}
    run(put(build("mine", StoreConfig(type="file", options=options)), IMAGE, b"abc"))
    assert mode_of(tmp_path / IMAGE) == 0o640


@pytest.mark.parametrize(
    "written",
    [
        *("0o640", "0o644", "0o660", "0o664", "0o600", "0o666"),  # TOML's octal numbers, which arrive as 416, 420, ...
        *("0", "7", "64", "-640", "6400", "1640", "4644", "2660", "755", "777", "440", "240", "689", "true", "6.5"),
        *("''", "'rw-r-----'", "'u=rw'", "'0x1a0'", "'0b110'", "' 640'", "'6_40'", "'٦٤٠'", "'-640'", "'0o0o640'", '"640\\n"'),
    ],
)
def test_what_is_not_fit_is_refused(written: str) -> None:
    options = {"path": "/srv/images", **tomllib.loads(f"file_perm = {written}")}
    with pytest.raises(InvalidRequest, match="mine") as caught:
        build("mine", StoreConfig(type="file", options=options))
    assert "file_perm" in str(caught.value)


def test_the_refusal_shows_how_to_write_it() -> None:
    with pytest.raises(InvalidRequest, match="'640'"):
        FileStore("mine", "/srv/images", file_perm=0o640)


@pytest.mark.parametrize("file_perm", ["600", "666"])
def test_nobody_else_reads_an_image_that_is_being_written(tmp_path: Path, file_perm: str) -> None:
    """Who may read it is decided when it is complete; a umask may be wider than that."""
    os.umask(0)
    store = FileStore("files", tmp_path, file_perm=file_perm)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 3)
        temporary = Path(writer.trace.removeprefix("file://"))
        assert mode_of(temporary) == 0o600
        writer.write(memoryview(b"abc"))
        await writer.flush(3)
        assert mode_of(temporary) == int(file_perm, 8)
        await writer.abort()

    run(scenario())


def test_without_file_perm_the_umask_decides_from_the_beginning(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = await FileStore("files", tmp_path).open_writer(IMAGE, 3)
        temporary = Path(writer.trace.removeprefix("file://"))
        assert mode_of(temporary) == 0o640
        await writer.abort()

    run(scenario())
