"""Whatever is wrong with a stream is an error: a damaged one never passes for a shorter or another image."""

from __future__ import annotations

import contextlib
import gzip
import subprocess

import pytest
from decode_samples import TEXT, TOOLS, Pieces, compress, decode, drain, image, tool, zip_of

from glance_stream.decode import FORMATS, DecodeLimits, open_decoder
from glance_stream.decode.formats import decoder_class
from glance_stream.errors import DecodeError, GlanceStreamError, SourceError

ALL = [name for name in FORMATS if name != "lha"]
SMALL = TEXT[:150] + bytes(range(50))


@pytest.mark.parametrize("pieces", [[1 << 20], [1], [7, 3]], ids=["whole", "bytes", "mixed"])
@pytest.mark.parametrize("name", ALL)
def test_truncated_anywhere(name: str, pieces: list[int]) -> None:
    blob = compress(name, SMALL)
    assert decode(name, blob, pieces) == SMALL
    for end in range(len(blob)):
        with pytest.raises(DecodeError):
            decode(name, blob[:end], pieces)


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bz2", "lz4"])
def test_second_frame_truncated_anywhere(name: str) -> None:
    first, second = compress(name, SMALL), compress(name, b"more")
    for end in range(1, len(second)):
        with pytest.raises(DecodeError):
            decode(name, first + second[:end])


@pytest.mark.parametrize("name", ["zstd", "lz4", "bz2", "gzip", "zip"])
def test_large_stream_truncated_at_and_around_a_block(name: str) -> None:
    """zstd and lz4 blocks lie 128 KiB and 64 KiB apart and a stream cut between two of them looks tidy."""
    blob = tool(("lz4", "-qc", "-B4"), image(400_000)) if name == "lz4" else compress(name, image(400_000))
    for end in [*range(len(blob) - 9, len(blob)), *range(1, len(blob), 10_007)]:
        with pytest.raises(DecodeError):
            decode(name, blob[:end], buffers=[1 << 20])


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("pieces", [[1 << 20], [5]], ids=["whole", "pieces"])
@pytest.mark.parametrize("name", ALL)
def test_one_byte_corrupted_anywhere(name: str, flip: int, pieces: list[int]) -> None:
    """All of these carry checksums; what may change without an error is a time stamp, or a name, or the like."""
    blob = bytearray(compress(name, SMALL))
    for at in range(len(blob)):
        blob[at] ^= flip
        with contextlib.suppress(GlanceStreamError):
            assert decode(name, bytes(blob), pieces) == SMALL, f"byte {at}"
        blob[at] ^= flip


@pytest.mark.parametrize(
    "garbage", [b"x", b"\x01\0\0\0", b"garbage that is longer", b"\x1f", b"PK\x03\x04", b"BZh9", bytes(511) + b"x"]
)
@pytest.mark.parametrize("name", ALL)
def test_garbage_after_the_end(name: str, garbage: bytes) -> None:
    blob = compress(name, SMALL) + garbage
    for pieces in ([1 << 20], [1]):
        with pytest.raises(DecodeError):
            decode(name, blob, pieces)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("gzip", "xz")])
def test_padding_where_the_format_has_none(name: str) -> None:
    with pytest.raises(DecodeError):
        decode(name, compress(name, SMALL) + bytes(4))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("junk", [b"", b"\0", bytes(2000), b"not compressed at all, only some text"])
def test_a_forced_format_that_it_is_not(name: str, junk: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(name, junk)


@pytest.mark.parametrize("name", ALL)
def test_what_the_reader_raises_passes_through(name: str) -> None:
    blob = compress(name, image(50_000))
    for whole_pieces in (0, 1, 3):
        reader = Breaking(blob, whole_pieces)
        with pytest.raises(SourceError, match="gone") as caught:
            drain(decoder_class(name)(reader, DecodeLimits()), [4096])
        assert caught.value is reader.error


class Breaking(Pieces):
    def __init__(self, data: bytes, pieces: int) -> None:
        super().__init__(data, [1000])
        self._left = pieces
        self.error = SourceError("gone")

    def read(self, size: int = -1, /) -> bytes:
        if not self._left:
            raise self.error
        self._left -= 1
        return super().read(size)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_no_stream_that_the_tool_refuses_is_accepted(name: str) -> None:
    """Damage of several bytes, the tool as the judge. The other way round we may be stricter."""
    blob = compress(name, SMALL)
    command = [TOOLS[name][0], "-dc"]
    for at in range(4, len(blob) - 4, 11):
        damaged = blob[:at] + bytes(4) + blob[at + 4 :]
        verdict = subprocess.run(command, input=damaged, capture_output=True, check=False)
        try:
            output = decode(name, damaged)
        except GlanceStreamError:
            continue
        assert verdict.returncode == 0
        assert output == verdict.stdout


def test_errors_pass_the_wrappers() -> None:
    blob = gzip.compress(image(200_000))[:-3]
    decoder = open_decoder("gzip", Pieces(blob))
    with pytest.raises(DecodeError, match="truncated"):
        drain(decoder)


def test_a_zip_of_zip_is_not_confused_by_records_in_its_data() -> None:
    inner = zip_of({"a": b"1"}, method=0)
    assert decode("zip", zip_of({"outer": inner}, method=0)) == inner
