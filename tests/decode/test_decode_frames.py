"""What is peculiar to each format made of frames."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import subprocess
import zlib

import pytest
from decode_samples import TEXT, compress, decode, image, tool

from glance_stream.decode.intake import Intake
from glance_stream.decode.zstd_frames import FrameWalk
from glance_stream.errors import DecodeError, LimitExceeded

SKIPPABLE = b"\x53\x2a\x4d\x18" + struct.pack("<I", 300) + bytes(300)
EXTRA = struct.pack("<H", 5) + b"extra"


def gzip_member(flags: int, fields: bytes = b"", data: bytes = TEXT) -> bytes:
    """RFC 1952, 2.3."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(5) + b"\xff" + fields
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    deflate = zlib.compressobj(wbits=-15)
    return header + deflate.compress(data) + deflate.flush() + struct.pack("<2I", zlib.crc32(data), len(data))


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 11, 1000])
@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (1, b""),
        (2, b""),
        (4, EXTRA),
        (8, b"name\0"),
        (16, b"comment\0"),
        (12, EXTRA + b"name\0"),
        (30, EXTRA + b"n\0" + b"c" * 900 + b"\0"),
    ],
)
def test_gzip_optional_fields_at_any_split(flags: int, fields: bytes, piece: int) -> None:
    """ISA-L reads these right only when they come in one piece."""
    member = gzip_member(flags, fields)
    assert gzip.decompress(member) == TEXT
    assert decode("gzip", member + member, [piece]) == TEXT * 2


@pytest.mark.parametrize("flag", [0x20, 0x40, 0x80])
def test_gzip_reserved_flags(flag: int) -> None:
    with pytest.raises(DecodeError, match="reserved"):
        decode("gzip", gzip_member(flag))


def test_gzip_header_checksum() -> None:
    member = bytearray(gzip_member(2))
    member[4] ^= 1
    with pytest.raises(DecodeError, match="header's checksum"):
        decode("gzip", bytes(member))


@pytest.mark.parametrize("flags", [8, 16])
def test_gzip_name_without_an_end_is_not_read_for_ever(flags: int) -> None:
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    with pytest.raises(DecodeError, match="doesn't end"):
        decode("gzip", head + b"n" * (1 << 20))


@pytest.mark.parametrize("padding", [1, 3, 511, 300_000])
def test_gzip_zero_padding_as_python_and_glance(padding: int) -> None:
    blob = gzip.compress(TEXT) + bytes(padding)
    assert decode("gzip", blob) == gzip.decompress(blob) == TEXT
    more = blob + gzip.compress(b"more")
    assert decode("gzip", more, [97]) == gzip.decompress(more) == TEXT + b"more"
    with pytest.raises(DecodeError):
        decode("gzip", bytes(padding) + blob)


@pytest.mark.parametrize("at", [-8, -4])
def test_gzip_trailer(at: int) -> None:
    """CRC32, then ISIZE, which the decoder must not leave unread."""
    blob = bytearray(gzip.compress(TEXT))
    blob[at] ^= 1
    with pytest.raises(DecodeError):
        decode("gzip", bytes(blob))


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_gzip_levels(level: int) -> None:
    data = image(200_000)
    assert decode("gzip", gzip.compress(data, level), [8191]) == data


@pytest.mark.parametrize("name", ["zstd", "lz4"])
@pytest.mark.parametrize("order", ["before", "between", "after"])
@pytest.mark.parametrize("piece", [1, 6, 100_000])
def test_skippable_frames(name: str, order: str, piece: int) -> None:
    blob = compress(name, TEXT)
    stream = {"before": SKIPPABLE + blob, "between": blob + SKIPPABLE + SKIPPABLE + blob, "after": blob + SKIPPABLE}[order]
    assert decode(name, stream, [piece]) == (TEXT * 2 if order == "between" else TEXT)
    if order == "after":
        for end in range(len(blob) + 1, len(stream)):
            with pytest.raises(DecodeError):
                decode(name, stream[:end])


@pytest.mark.parametrize(
    "arguments",
    [("--check",), ("--no-check",), ("-19",), ("--fast=5",), ("--no-content-size",), ("-T2",)],
)
@pytest.mark.parametrize("kind", ["image", "zeros", "small", "empty"])
def test_zstd_kinds_of_headers_and_blocks(arguments: tuple[str, ...], kind: str) -> None:
    data = {"image": image(300_000), "zeros": bytes(300_000), "small": b"x" * 300, "empty": b""}[kind]
    blob = tool(("zstd", "-qc", *arguments), data)
    assert decode("zstd", blob, [1003]) == data


def test_zstd_single_segment_sizes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The size field of the frame header takes 1, 2 or 4 bytes; files of known size get single-segment frames."""
    folder = tmp_path_factory.mktemp("zstd")
    for size in (0, 1, 255, 256, 257, 65_791, 65_792, 200_000):
        (folder / "f").write_bytes(image(size))
        blob = subprocess.run(["zstd", "-qc", folder / "f"], capture_output=True, check=True).stdout
        assert decode("zstd", blob, [500]) == image(size)


def test_zstd_dictionary() -> None:
    zstandard = pytest.importorskip("zstandard")
    dictionary = zstandard.train_dictionary(2000, [image(400, seed) + TEXT for seed in range(100)])
    blob = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    with pytest.raises(DecodeError, match="dictionary"):
        decode("zstd", blob)


@pytest.mark.parametrize("size", [0, 1, 4000, 131_073])
def test_zstd_walk_is_complete_exactly_at_the_end_of_frames(size: int) -> None:
    blob = compress("zstd", image(size)) + SKIPPABLE
    ends = {len(blob) - len(SKIPPABLE), len(blob)}
    walk = FrameWalk(1 << 27)
    for at in range(len(blob)):
        assert walk.complete == (at in ends)
        walk.feed(blob[at : at + 1])
    assert walk.complete


@pytest.mark.parametrize(
    ("header", "error"),
    [("08", DecodeError), ("01" + "50" + "07", DecodeError), ("00" + "ff", LimitExceeded), ("00" + "50" + "060000", DecodeError)],
    ids=["reserved bit", "dictionary", "window", "reserved block"],
)
def test_zstd_walk_refuses(header: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        FrameWalk(1 << 27).feed(bytes.fromhex("28b52ffd" + header))


def test_zstd_compressed_block_of_nothing() -> None:
    """RFC 8878, 3.1.1.2.3: it has two bytes at least. libzstd refuses it in one call and passes it as a stream."""
    with pytest.raises(DecodeError, match="block header"):
        decode("zstd", compress("zstd", TEXT) + bytes.fromhex("28b52ffd 00 00 050000"))


@pytest.mark.parametrize("arguments", [("-B4", "-BD"), ("-B7",), ("-9",), ("--no-frame-crc",), ("-BX",)])
def test_lz4_kinds(arguments: tuple[str, ...]) -> None:
    data = image(500_000)
    assert decode("lz4", tool(("lz4", "-qc", *arguments), data), [4099]) == data


def test_lz4_dictionary() -> None:
    blob = bytearray(compress("lz4", TEXT))
    blob[4] |= 1
    with pytest.raises(DecodeError, match="dictionary"):
        decode("lz4", bytes(blob))


@pytest.mark.parametrize(("padding", "good"), [(4, True), (8, True), (1 << 19, True), (1, False), (2, False), (6, False)])
def test_xz_stream_padding(padding: int, good: bool) -> None:
    blob = lzma.compress(TEXT) + bytes(padding)
    for stream, expected in ((blob, TEXT), (blob + lzma.compress(b"more"), TEXT + b"more")):
        if good:
            assert decode("xz", stream) == expected
        else:
            with pytest.raises(DecodeError, match="multiple of four"):
                decode("xz", stream)


@pytest.mark.parametrize("check", [lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256])
def test_xz_checks(check: int) -> None:
    assert decode("xz", lzma.compress(TEXT, check=check)) == TEXT


def test_xz_with_several_blocks() -> None:
    data = image(200_000)
    assert decode("xz", tool(("xz", "-c", "-0", "--block-size=30000"), data), [3000]) == data


def test_intake_gives_back_across_pieces() -> None:
    """A decompressor's bit buffer may hold bytes of the piece before the last."""
    intake = Intake(io.BytesIO(b"abcdef"))
    assert bytes(intake.piece(3)) == b"abc"
    intake.give_back(b"bc")
    assert (intake.position, intake.peek(2)) == (1, b"bc")
    intake.give_back(b"xyza")
    assert (intake.position, intake.exactly(6)) == (-3, b"xyzabc")
    assert bytes(intake.piece(99)) == b"def"
    assert intake.at_end()
    assert not intake.piece(1)


def empty_last_block(data: bytes, stated: int) -> bytes:
    """A zstd frame of one raw block and an empty last one: the descriptor's bit 5 and a content size of one byte."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([stated]) + (len(data) << 3).to_bytes(3, "little") + data + b"\x01\0\0"


@pytest.mark.parametrize("piece", [1, 3, 10, 1000])
def test_zstd_content_size_of_a_frame_with_an_empty_last_block(piece: int) -> None:
    """Encoders that are told the size and flushed at the end write such. In pieces, libzstd takes any size for right."""
    data = TEXT[:100]
    blob = empty_last_block(data, 100)
    assert decode("zstd", blob, [piece]) == data
    assert decode("zstd", blob + SKIPPABLE + blob, [piece]) == data * 2
    for stated in (0, 99, 101, 255):
        for stream in (empty_last_block(data, stated), blob + empty_last_block(data, stated)):
            with pytest.raises(DecodeError):
                decode("zstd", stream, [piece])
