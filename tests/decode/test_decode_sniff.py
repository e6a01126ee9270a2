"""Compressed content is recognised; a disk that only begins like it is left alone, and said to resemble it."""

from __future__ import annotations

import random
import struct

import pytest
from decode_samples import TEXT, Pieces, compress, drain, image, lha_header, lha_of, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_stream.decode import FORMATS, SNIFF_SIZE, Sniffed, open_decoder, sniff
from glance_stream.errors import DecodeError

# The start of GRUB's boot.img: a jump over the parameter block, then code.
BOOT_CODE = bytes.fromhex("eb6390108ed0bc00b0b8000060068ed88ec0fbbe007cbf0006b9000280f3a4ea21060000bebe0738040b75d07406e80d00eb5c")
MAGICS = {
    "gzip": b"\x1f\x8b\x08",
    "zstd": b"\x28\xb5\x2f\xfd",
    "xz": b"\xfd7zXZ\0",
    "bz2": b"BZh9",
    "lz4": b"\x04\x22\x4d\x18",
    "zip": b"PK\x03\x04",
    "lha": b"\xeb\x3c-lh5-",
}
FILLS = {
    "zeros": bytes(SNIFF_SIZE),
    "boot code": (BOOT_CODE + bytes(512 - len(BOOT_CODE) - 2) + b"\x55\xaa").ljust(SNIFF_SIZE, b"\0"),
    "ones": b"\xff" * SNIFF_SIZE,
    "text": b"This volume is not bootable. Insert a system disk and press any key.\r\n" * 1000,
    "noise": random.Random(5).randbytes(SNIFF_SIZE),
}


@pytest.mark.parametrize("size", [0, 1, 100, 3 * SNIFF_SIZE])
@pytest.mark.parametrize("name", FORMATS)
def test_compressed(name: str, size: int) -> None:
    data = image(min(size, 60_000) if name == "lha" else size)
    assert sniff(compress(name, data)[:SNIFF_SIZE]) == Sniffed(name)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "lha"])
def test_incompressible_content_whose_first_block_is_larger_than_the_head(name: str) -> None:
    assert sniff(compress(name, random.Random(1).randbytes(300_000))[:SNIFF_SIZE]).format == name


@pytest.mark.parametrize("name", ["zip", "gzip"])
def test_small_writes_of_a_tool_in_a_pipe(name: str) -> None:
    blob = tool({"zip": ("zip", "-q"), "gzip": ("gzip", "-c")}[name], TEXT)
    assert sniff(blob).format == name


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", MAGICS)
def test_disk_that_begins_with_magic_bytes(name: str, fill: str) -> None:
    disk = (MAGICS[name] + FILLS[fill])[:SNIFF_SIZE]
    assert sniff(disk) == Sniffed(None, resembles=name)
    assert sniff(disk[:512]) == Sniffed(None, resembles=name)


@pytest.mark.parametrize("name", MAGICS)
def test_disks_of_noise_behind_magic_bytes(name: str) -> None:
    """Next to none: for zstd, whose header is the least redundant, one in some thousands passes, and then fails to decode."""
    noise = random.Random(0)
    assert sum(sniff(MAGICS[name] + noise.randbytes(600)).format is not None for _ in range(3000)) <= 3


@pytest.mark.parametrize("fill", FILLS)
def test_plain_disk(fill: str) -> None:
    assert sniff(FILLS[fill]) == Sniffed()
    assert sniff(b"") == Sniffed()


@pytest.mark.parametrize(
    "disk", [b"QFI\xfb" + bytes(600), b"KDMV" + bytes(600), b"conectix" + bytes(600), b"vhdxfile" + bytes(600)]
)
def test_image_formats_are_not_compression(disk: bytes) -> None:
    assert sniff(disk) == Sniffed()


@settings(max_examples=200, deadline=None)
@given(
    head=st.one_of(
        st.binary(max_size=200), st.tuples(st.sampled_from(sorted(MAGICS.values())), st.binary(max_size=90)).map(b"".join)
    )
)
def test_never_fails(head: bytes) -> None:
    sniff(head)


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "lz4", "zip"])
def test_every_prefix_and_every_damage_is_taken_without_an_error(name: str) -> None:
    blob = bytearray(compress(name, TEXT[:80]))
    for at in range(len(blob)):
        sniff(bytes(blob[:at]))
        blob[at] ^= 0xFF
        sniff(bytes(blob))
        blob[at] ^= 0xFF


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "lha"])
def test_damaged_further_on_is_still_of_the_format(name: str) -> None:
    """And never imported as a disk: the decoder reports it."""
    blob = bytearray(compress(name, image(40_000)))
    blob[len(blob) // 2 : len(blob) // 2 + 8] = bytes(8)
    if name != "bz2":  # whose first block is the whole file here
        assert sniff(bytes(blob)).format == name
    decoder = open_decoder(name, Pieces(bytes(blob)))
    with pytest.raises(DecodeError):
        drain(decoder)


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd", "lz4", "bz2"])
def test_truncated_after_the_header_is_still_of_the_format(name: str) -> None:
    blob = compress(name, image(40_000))
    assert sniff(blob[:200]).format == name


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_skippable_frames_in_front(name: str) -> None:
    """pzstd writes one that tells the size of the frame behind it."""
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"size"
    assert sniff(skippable * 3 + compress(name, TEXT)).format == name
    assert sniff(skippable + bytes(100)) == Sniffed()
    assert sniff(b"\x50\x2a\x4d\x18\xff\xff\xff\x7f" + bytes(100)) == Sniffed(resembles="zstd")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_lha_header_is_checked_to_the_last_bit(level: int) -> None:
    header = lha_header(b"-lh5-", b"packed", b"data", level)
    assert sniff(header + b"packed\0").format == "lha"
    for at in range(len(header)):
        for bit in range(8):
            damaged = bytearray(header)
            damaged[at] ^= 1 << bit
            assert sniff(bytes(damaged) + b"packed\0").format is None, (at, bit)


@pytest.mark.parametrize("method", [b"-lh8-", b"-lhz-", b"-pm2-", b"-lh5+"])
def test_lha_methods_that_are_not(method: bytes) -> None:
    assert sniff(lha_of(TEXT, method)).format is None
