"""Frames without content: each costs time and none brings the stream any further. A million of them is 20 MB of download."""

from __future__ import annotations

import bz2
import gzip
import lzma

import lz4.frame
import pytest
import zstandard
from decode_samples import Pieces, drain

from glance_stream.decode import DecodeLimits, open_decoder
from glance_stream.errors import LimitExceeded

COMPRESS = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "lz4": lz4.frame.compress,
}
SKIPPABLE = b"\x50\x2a\x4d\x18\0\0\0\0"
EMPTY_BLOCKS = b"\x28\xb5\x2f\xfd\x00\x00" + bytes(3 * 400_000) + b"\x01\0\0"  # one zstd frame
LIMITS = DecodeLimits(frame_grace=2000)


class Endless:
    """The same bytes again and again; how many have been taken."""

    def __init__(self, head: bytes, rest: bytes) -> None:
        self._next = head
        self._rest = rest * (1 + (64 << 10) // len(rest))
        self.taken = 0

    def read(self, size: int = -1, /) -> bytes:
        piece, self._next = self._next, self._rest
        self.taken += len(piece)
        return piece


@pytest.mark.parametrize("name", COMPRESS)
def test_frames_without_content_do_not_go_on_for_ever(name: str) -> None:
    packed = COMPRESS[name](b"first content")
    reader = Endless(packed, COMPRESS[name](b""))
    with pytest.raises(LimitExceeded, match=f"the {name} stream has [0-9]+ frames or blocks with less than 512 bytes"):
        drain(open_decoder(name, reader, LIMITS))
    assert reader.taken < 1 << 20


@pytest.mark.parametrize("name", COMPRESS)
def test_a_byte_now_and_then_makes_it_no_better(name: str) -> None:
    with pytest.raises(LimitExceeded, match="less than 512 bytes"):
        drain(open_decoder(name, Endless(COMPRESS[name](b"x"), COMPRESS[name](b"") * 100 + COMPRESS[name](b"x")), LIMITS))


@pytest.mark.parametrize("between", [SKIPPABLE, EMPTY_BLOCKS], ids=["skippable frames", "empty blocks"])
def test_the_same_within_zstd(between: bytes) -> None:
    with pytest.raises(LimitExceeded, match="less than 512 bytes"):
        drain(open_decoder("zstd", Endless(zstandard.compress(b"x"), between), LIMITS))


@pytest.mark.parametrize("name", COMPRESS)
def test_many_frames_with_content_are_fine(name: str) -> None:
    """As bgzip, pzstd and pigz write them, and far smaller."""
    data = bytes(range(256)) * 4
    blob = COMPRESS[name](data) * 5000
    assert drain(open_decoder(name, Pieces(blob, [100_000]), LIMITS)) == data * 5000


@pytest.mark.parametrize("name", COMPRESS)
def test_a_few_empty_frames_are_fine(name: str) -> None:
    blob = COMPRESS[name](b"x") + COMPRESS[name](b"") * 500
    assert drain(open_decoder(name, Pieces(blob), LIMITS)) == b"x"
