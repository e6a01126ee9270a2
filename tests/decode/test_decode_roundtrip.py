"""Every format, in random pieces and into random buffers, gives back what the reference tools were given."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from decode_samples import TEXT, Pieces, compress, decode, drain, image
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_stream.decode import FORMATS, open_decoder

zstandard = pytest.importorskip("zstandard")
lz4_frame = pytest.importorskip("lz4.frame")

ALL = [name for name in FORMATS if name != "lha"]
FRAMED = ["gzip", "zstd", "xz", "bz2", "lz4"]

PACK = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "lz4": lz4_frame.compress,
    "zip": lambda data: compress("zip", data),
}

contents = st.lists(st.one_of(st.binary(max_size=300), st.builds(bytes, st.integers(0, 5000)), st.just(TEXT)), max_size=6).map(
    b"".join
)
sizes = st.lists(st.integers(1, 700), min_size=1, max_size=5)
buffers = st.lists(st.one_of(st.integers(1, 40), st.integers(1000, 9000)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40, deadline=None)
@given(data=contents, pieces=sizes, into=buffers)
def test_any_split_of_input_and_output(name: str, data: bytes, pieces: list[int], into: list[int]) -> None:
    assert decode(name, PACK[name](data), pieces, into) == data


@pytest.mark.parametrize("name", FRAMED)
@settings(max_examples=25, deadline=None)
@given(parts=st.lists(contents, min_size=2, max_size=4), pieces=sizes)
def test_frames_end_to_end_are_one_stream(name: str, parts: list[bytes], pieces: list[int]) -> None:
    assert decode(name, b"".join(PACK[name](part) for part in parts), pieces) == b"".join(parts)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_what_the_tools_write(name: str, size: int) -> None:
    data = image(size)
    assert decode(name, compress(name, data)) == data


@pytest.mark.parametrize("name", ALL)
def test_one_byte_at_a_time(name: str) -> None:
    assert decode(name, compress(name, TEXT), [1], [1]) == TEXT


@pytest.mark.parametrize("name", ALL)
def test_composed_with_limits_and_the_look_at_the_content(name: str) -> None:
    data = image(300_000, seed=7)
    decoder = open_decoder(name, Pieces(compress(name, data), [5000, 1]))
    assert decoder.format == name
    assert drain(decoder, [1000, 50_000]) == data
    decoder.close()
    decoder.close()
    with pytest.raises(ValueError, match="closed"):
        decoder.readinto(memoryview(bytearray(1)))


@pytest.mark.parametrize("name", ["gzip", "bz2", "lz4", "zstd"])
def test_thousands_of_tiny_frames_take_no_square_of_time(name: str) -> None:
    """At 50 MB/s of memory traffic per frame this would run into the time limit of the suite."""
    count = 5000
    assert decode(name, PACK[name](b"x") * count) == b"x" * count
