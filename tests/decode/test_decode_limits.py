"""Limits hold before the byte that would break them, and memory does not follow the output."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc

import pytest
from decode_samples import TEXT, Pieces, compress, decode, drain, image, tool, zip_of

from glance_stream.decode import FORMATS, DecodeLimits, choose, open_decoder, sniff
from glance_stream.errors import DecodeError, FormatRejected, InvalidRequest, LimitExceeded

ALL = [name for name in FORMATS if name != "lha"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1, 70_000, 99_999, 100_000])
def test_never_a_byte_beyond_max_size(name: str, size: int) -> None:
    data = image(100_000)
    decoder = open_decoder(name, Pieces(compress(name, data)), DecodeLimits(max_size=size))
    if size == len(data):
        assert drain(decoder) == data
        return
    given = bytearray()
    with pytest.raises(LimitExceeded, match=f"more than {size} bytes"):
        drain(decoder, [30_000], given)
    assert len(given) <= size
    assert data.startswith(given)


@pytest.mark.parametrize("name", ALL)
def test_bomb_by_ratio_is_stopped_soon_after_the_grace(name: str) -> None:
    limits = DecodeLimits(max_ratio=20, ratio_grace=1 << 20)
    decoder = open_decoder(name, Pieces(compress(name, bytes(16 << 20)), [4096]), limits)
    given = bytearray()
    with pytest.raises(LimitExceeded, match="more than 20 times"):
        drain(decoder, [1 << 18], given)
    assert len(given) <= 4 << 20


def test_a_small_image_of_zeros_is_no_bomb() -> None:
    data = bytes(8 << 20)
    assert drain(open_decoder("zstd", Pieces(compress("zstd", data)), DecodeLimits(max_ratio=20))) == data


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "lz4", "zip"])
def test_memory_is_bounded_by_the_buffer(name: str) -> None:
    """32 MiB of zeros from a few KiB that all arrive at once."""
    blob = compress(name, bytes(32 << 20))
    decoder = open_decoder(name, Pieces(blob))
    buffer = memoryview(bytearray(64 << 10))
    tracemalloc.start()
    try:
        while decoder.readinto(buffer):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("log", [28, 30, 31])
def test_zstd_window_too_large(log: int) -> None:
    blob = tool(("zstd", "-qc", "--ultra", f"--long={log}"), TEXT)
    assert sniff(blob).format == "zstd"
    with pytest.raises(LimitExceeded, match=r"window of \d+ MiB"):
        decode("zstd", blob)


def test_zstd_window_at_the_limit_is_allowed() -> None:
    assert decode("zstd", tool(("zstd", "-qc", "--long=27"), TEXT)) == TEXT
    with pytest.raises(LimitExceeded):
        decode("zstd", tool(("zstd", "-qc", "--long=27"), TEXT), limits=DecodeLimits(max_memory=(128 << 20) - 1))


def test_xz_dictionary_too_large() -> None:
    blob = tool(("xz", "-c", "--lzma2=preset=1,dict=256MiB"), TEXT)
    assert sniff(blob).format == "xz"
    with pytest.raises(LimitExceeded, match="128 MiB"):
        decode("xz", blob)
    assert decode("xz", tool(("xz", "-c9"), TEXT)) == TEXT


@pytest.mark.parametrize("outer", ALL)
@pytest.mark.parametrize("inner", ALL)
def test_nested_compression_is_refused_before_a_byte_is_given(outer: str, inner: str) -> None:
    blob = compress(outer, compress(inner, image(100_000)))
    decoder = open_decoder(outer, Pieces(blob, [777]))
    with pytest.raises(FormatRejected, match=f"nested compression: {inner} inside {outer}"):
        decoder.readinto(memoryview(bytearray(10)))


def test_content_that_only_resembles_is_not_nested() -> None:
    disk = b"\x1f\x8b\x08" + bytes(100_000)
    assert drain(open_decoder("gzip", Pieces(gzip.compress(disk)))) == disk


def test_choose() -> None:
    head = gzip.compress(b"x")
    assert choose("auto", head) == "gzip"
    assert choose("auto", bytes(512)) is None
    assert choose("never", head) is None
    assert choose("zstd", head) == "zstd"
    with pytest.raises(InvalidRequest, match="'rar'; known: auto, never, gzip, zstd, xz, bz2, lz4, zip, lha"):
        choose("rar", head)
    with pytest.raises(InvalidRequest):
        open_decoder("auto", Pieces(head))
    with pytest.raises(DecodeError):
        drain(open_decoder("zstd", Pieces(head)))


def test_libraries_are_imported_when_used() -> None:
    code = """
import sys, glance_stream.decode as decode
heavy = {"zstandard", "lz4", "isal", "libarchive"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
decode.sniff(bytes(512)), decode.choose("never", b""), decode.open_decoder("xz", None)
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reader_is_not_touched_before_the_first_readinto() -> None:
    class Untouched:
        def read(self, size: int = -1, /) -> bytes:
            raise AssertionError

    for name in ALL:
        open_decoder(name, Untouched()).close()


@pytest.mark.parametrize("name", ALL)
def test_a_reader_is_asked_no_more_after_its_end(name: str) -> None:
    class Once(Pieces):
        ended = False

        def read(self, size: int = -1, /) -> bytes:
            assert not self.ended
            piece = super().read(size)
            self.ended = not piece
            return piece

    assert drain(open_decoder(name, Once(compress(name, TEXT), [9]))) == TEXT


def test_zip_counts_towards_the_limits_as_any_other() -> None:
    blob = zip_of({"a": bytes(1 << 20)})
    with pytest.raises(LimitExceeded):
        drain(open_decoder("zip", Pieces(blob), DecodeLimits(max_size=1 << 19)))
