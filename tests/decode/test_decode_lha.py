"""LHA through libarchive, and what happens without it."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from decode_samples import TEXT, Pieces, decode, drain, image, lh5_bomb, lha_header, lha_of

from glance_stream.decode import DecodeLimits, open_decoder, sniff
from glance_stream.errors import DecodeError, FormatRejected, InvalidRequest, LimitExceeded, SourceError

DATA = image(20_000)


@pytest.fixture
def _libarchive() -> None:
    pytest.importorskip("libarchive")


needs_libarchive = pytest.mark.usefixtures("_libarchive")


@needs_libarchive
@pytest.mark.parametrize(
    ("method", "level"),
    [(b"-lh0-", 0), (b"-lh0-", 1), (b"-lh0-", 2), (b"-lh5-", 0), (b"-lh5-", 1), (b"-lh5-", 2), (b"-lz4-", 0)],
)
@pytest.mark.parametrize("pieces", [[1], [13, 200], [1 << 20]])
def test_levels_and_methods(level: int, method: bytes, pieces: list[int]) -> None:
    blob = lha_of(DATA, method, level)
    assert sniff(blob).format == "lha"
    assert decode("lha", blob, pieces, [700]) == DATA
    assert drain(open_decoder("lha", Pieces(blob, pieces))) == DATA


@needs_libarchive
def test_empty_file() -> None:
    assert decode("lha", lha_of(b"", b"-lh0-")) == b""
    assert sniff(lha_of(b"", b"-lh0-")).format == "lha"


@needs_libarchive
@pytest.mark.parametrize("method", [b"-lh0-", b"-lh5-"])
def test_truncated_anywhere(method: bytes) -> None:
    blob = lha_of(TEXT[:100], method)
    for pieces in ([1], [1 << 20]):
        for end in range(len(blob)):
            with pytest.raises(DecodeError):
                decode("lha", blob[:end], pieces)


@needs_libarchive
@pytest.mark.parametrize("level", [0, 1, 2])
def test_corrupted_anywhere(level: int) -> None:
    data = TEXT[:100]
    blob = bytearray(lha_of(data, b"-lh5-", level))
    for at in range(len(blob)):
        blob[at] ^= 0x10
        with contextlib.suppress(DecodeError):
            assert decode("lha", bytes(blob)) == data, at
        blob[at] ^= 0x10


@needs_libarchive
def test_after_the_end_mark() -> None:
    blob = lha_of(DATA)
    assert decode("lha", blob + bytes(1000)) == DATA
    for pieces in ([1], [1 << 20]):
        with pytest.raises(DecodeError, match="garbage"):
            decode("lha", blob + bytes(100) + b"x", pieces)


@needs_libarchive
def test_wrong_crc_is_an_error_and_not_a_message() -> None:
    """In a process of its own: pytest sets logging up, and it is without that that libarchive-c writes to stderr."""
    blob = bytearray(lha_of(DATA, b"-lh0-"))
    blob[-100] ^= 1
    code = """
import sys
from glance_stream.decode import open_decoder
from glance_stream.errors import DecodeError
decoder = open_decoder("lha", sys.stdin.buffer)
try:
    while decoder.readinto(memoryview(bytearray(9999))):
        pass
except DecodeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], input=bytes(blob), capture_output=True, check=True)
    assert b"CRC" in done.stdout
    assert done.stderr == b""


@needs_libarchive
def test_exactly_one_file() -> None:
    directory = lha_header(b"-lhd-", b"", b"", 1, b"d")
    assert decode("lha", directory + lha_of(DATA)) == DATA
    assert decode("lha", lha_of(DATA, end=b"") + directory + b"\0") == DATA
    with pytest.raises(DecodeError, match="no file"):
        decode("lha", directory + b"\0")
    with pytest.raises(DecodeError, match="more than one file"):
        decode("lha", lha_of(DATA, end=b"") + lha_of(DATA))


@needs_libarchive
def test_bomb_is_limited() -> None:
    size = 40 * 0xFFFF + 100
    packed = lh5_bomb(size)
    blob = lha_header(b"-lh5-", packed, bytes(size)) + packed + b"\0"
    assert decode("lha", blob) == bytes(size)
    with pytest.raises(LimitExceeded):
        drain(open_decoder("lha", Pieces(blob), DecodeLimits(max_size=size - 1)))


@needs_libarchive
def test_nested() -> None:
    with pytest.raises(FormatRejected, match="lha inside lha"):
        drain(open_decoder("lha", Pieces(lha_of(lha_of(DATA), b"-lh0-"))))


@needs_libarchive
def test_method_that_libarchive_lacks() -> None:
    blob = lha_of(DATA, b"-lh1-")
    assert sniff(blob).format == "lha"
    with pytest.raises(DecodeError):
        decode("lha", blob)


@needs_libarchive
@pytest.mark.parametrize("error", [SourceError("gone"), KeyboardInterrupt()])
def test_what_the_reader_raises_comes_back_through_c(error: BaseException) -> None:
    blob = lha_of(DATA)

    class Breaking(Pieces):
        def read(self, size: int = -1, /) -> bytes:
            piece = super().read(size)
            if self._data.tell() > 5000:
                raise error
            return piece

    with pytest.raises(type(error)) as caught:
        drain(open_decoder("lha", Breaking(blob, [1000])))
    assert caught.value is error


@pytest.mark.parametrize("name", ["libarchive", "libarchive.read"])
def test_without_libarchive_the_message_tells_the_way_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = lha_of(DATA)
    monkeypatch.setitem(sys.modules, "libarchive", None)
    monkeypatch.delitem(sys.modules, "libarchive.read", raising=False)
    assert sniff(blob).format == "lha", "what the content is does not depend on what is installed"
    with pytest.raises(InvalidRequest, match=r"glance-stream\[lha\].*--decompress=never"):
        open_decoder("lha", Pieces(blob))
