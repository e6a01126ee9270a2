"""What must not get in: damaged, hostile or mistaken sources into three stores, with nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from real_site import COMPRESSORS, Site

Compress = Callable[[str, str], Path]

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


def assert_refused(site: Site, source: Path, *options: object, code: int = 4, error: str) -> str:
    """Refused with that error; stores empty, image queued and no operation under way. Gives the message."""
    found, result = site.tool("import", source, "--all-stores", *options)
    assert (found, result["error"]["error"]) == (code, error), result
    assert site.files() == []
    if result.get("image_id"):
        assert site.tool("show", result["image_id"])[1]["status"] == "queued"
    message: str = result["error"]["message"]
    return message


def changed(path: Path, to: Path, change: Callable[[bytearray], bytes | bytearray]) -> Path:
    to.write_bytes(change(bytearray(path.read_bytes())))
    return to


@pytest.mark.parametrize("format", COMPRESSORS)
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_truncated(site: Site, compressed: Compress, tmp_path: Path, format: str, keep: float) -> None:
    cut = changed(compressed("iso", format), tmp_path / "cut", lambda data: data[: int(len(data) * keep)])
    assert_refused(site, cut, error="DecodeError")


@pytest.mark.parametrize("format", ["gzip", "zstd", "xz", "bz2", "zip"])
def test_corrupt_in_the_middle(site: Site, compressed: Compress, tmp_path: Path, format: str) -> None:
    def flip(data: bytearray) -> bytearray:
        data[len(data) * 3 // 4] ^= 0x10
        return data

    assert_refused(site, changed(compressed("iso", format), tmp_path / "corrupt", flip), error="DecodeError")


@pytest.mark.parametrize("format", COMPRESSORS)
def test_trailing_garbage(site: Site, compressed: Compress, tmp_path: Path, format: str) -> None:
    long = changed(compressed("iso", format), tmp_path / "long", lambda data: data + b"and something more, not compressed")
    assert_refused(site, long, error="DecodeError")


@pytest.mark.parametrize("outer", COMPRESSORS)
def test_nested_compression(site: Site, compressed: Compress, tmp_path: Path, outer: str) -> None:
    inner = compressed("iso", "gzip").read_bytes()
    nested = tmp_path / "nested"
    if outer == "zip":
        with zipfile.ZipFile(nested, "w") as archive:
            archive.writestr("image.gz", inner)
    else:
        nested.write_bytes(PACK[outer](inner))
    message = assert_refused(site, nested, error="FormatRejected")
    assert "gzip" in message


@pytest.mark.parametrize("format", ["gzip", "xz", "zstd"])
def test_a_bomb_larger_than_the_cap(site: Site, tmp_path: Path, format: str) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(PACK[format](bytes(96 << 20)))
    assert_refused(site, bomb, "--max-size", "32 MiB", error="LimitExceeded")


def test_a_zstd_window_larger_than_memory_allows(site: Site, tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    sink = io.BytesIO()
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(sink, closefd=False) as writer:
        writer.write(os.urandom(1 << 20))
    (tmp_path / "wide").write_bytes(sink.getvalue())
    assert_refused(site, tmp_path / "wide", error="LimitExceeded")


def test_an_archive_of_two_files(site: Site, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("one", b"1" * 9999)
        archive.writestr("two", b"2" * 9999)
    assert "more than one file" in assert_refused(site, tmp_path / "two.zip", error="DecodeError")


def test_lha_says_what_to_do_or_is_refused_as_damaged(site: Site, tmp_path: Path) -> None:
    header = bytearray(
        b"\x00\x00-lh5-" + (99).to_bytes(4, "little") + (999).to_bytes(4, "little") + bytes(4) + b"\x20\x00\x04disk\x00\x00"
    )
    header[0] = len(header) - 2
    header[1] = sum(header[2:]) & 0xFF
    (tmp_path / "image.lzh").write_bytes(bytes(header) + os.urandom(99) + b"\x00")
    found, result = site.tool("import", tmp_path / "image.lzh", "--all-stores")
    assert (found, result["error"]["error"]) in ((2, "InvalidRequest"), (4, "DecodeError"))
    assert site.files() == []


@pytest.mark.parametrize(
    "magic",
    [
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00",
        b"BZh9",
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
        b"\x00\x00-lh5-",
        b"\xfd7zXZ\x00",
        b"\x04\x22\x4d\x18",
    ],
)
def test_a_raw_disk_that_merely_begins_with_magic_bytes_is_stored_as_it_is(site: Site, tmp_path: Path, magic: bytes) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(magic + bytes(512 - len(magic)) + random.Random(3).randbytes(1 << 20))
    code, _result = site.tool("import", disk, "--all-stores")
    assert code == 0
    assert all(path.read_bytes() == disk.read_bytes() for path in site.files())
    assert len(site.files()) == 3


@pytest.mark.parametrize("option", ["--expect", "--expect-compressed"])
def test_another_digest_than_expected(site: Site, compressed: Compress, option: str) -> None:
    assert_refused(site, compressed("iso", "zstd"), option, "sha256:" + "ab" * 32, error="DigestMismatch")


def test_no_data(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert_refused(site, tmp_path / "empty", error="EmptyImage")
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    assert_refused(site, tmp_path / "empty.gz", error="EmptyImage")


def test_a_mistyped_path_changes_nothing(site: Site, tmp_path: Path) -> None:
    assert_refused(site, tmp_path / "imgae.raw", code=2, error="InvalidRequest")
    assert site.tool("list")[1]["images"] == []


def test_one_store_already_has_a_file_of_that_name(site: Site, images: dict[str, Path]) -> None:
    image_id = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    site.stores["two"].mkdir()
    (site.stores["two"] / image_id).write_bytes(b"somebody's")
    code, result = site.tool("import", images["iso"], "--all-stores", "--id", image_id)
    assert (code, result["failed"]["two"]["error"]) == (4, "Duplicate")
    assert [path.read_bytes() for path in site.files()] == [b"somebody's"]
    code, result = site.tool("import", images["iso"], "--all-stores", "--id", image_id, "--best-effort")
    assert (code, sorted(result["stores"]), list(result["failed"])) == (3, ["one", "three"], ["two"])
