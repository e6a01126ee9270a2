"""Compressed samples by the reference tools, and a way to push them through a decoder in awkward pieces."""

from __future__ import annotations

import io
import itertools
import random
import struct
import subprocess
import zipfile
from collections.abc import Iterable, Sequence

from glance_stream.decode.base import DecodeLimits, Decoder
from glance_stream.decode.formats import decoder_class

TOOLS = {
    "gzip": ("gzip", "-nc"),
    "zstd": ("zstd", "-qc", "--check"),
    "xz": ("xz", "-c", "-1"),
    "bz2": ("bzip2", "-c"),
    "lz4": ("lz4", "-qc", "--content-size"),
}

TEXT = b"".join(b"%d bottles of beer on the wall, " % number for number in range(99, 80, -1))


def tool(arguments: Sequence[str], data: bytes) -> bytes:
    return subprocess.run(arguments, input=data, stdout=subprocess.PIPE, check=True).stdout


def compress(name: str, data: bytes) -> bytes:
    """By the tool everybody uses; zip by zipfile, lha by hand since no free packer is at hand."""
    if name in TOOLS:
        return tool(TOOLS[name], data)
    return zip_of({"disk.img": data}) if name == "zip" else lha_of(data, b"-lh5-" if len(data) > 8 else b"-lh0-")


def image(size: int, seed: int = 0) -> bytes:
    """Half of it noise, half of it compressible."""
    source = random.Random(seed)
    blocks = (source.randbytes(512) if source.random() < 0.5 else TEXT[:512] for _ in itertools.count())
    return b"".join(itertools.islice(blocks, size // 512 + 1))[:size]


class Pieces:
    """A reader that gives pieces of the sizes told, over and over, however much is asked for."""

    def __init__(self, data: bytes, sizes: Iterable[int] = (1 << 20,)) -> None:
        self._data = io.BytesIO(data)
        self._sizes = itertools.cycle(sizes)

    def read(self, size: int = -1, /) -> bytes:
        wanted = next(self._sizes)
        return self._data.read(wanted if size < 0 else min(wanted, size))


def drain(decoder: Decoder, sizes: Iterable[int] = (1 << 16,), output: bytearray | None = None) -> bytes:
    """Everything the decoder gives, into buffers of these sizes. ``output`` has what came before an error."""
    output = bytearray() if output is None else output
    for size in itertools.cycle(sizes):
        buffer = bytearray(size)
        count = decoder.readinto(memoryview(buffer))
        assert count <= size
        if not count:
            assert decoder.readinto(memoryview(buffer)) == 0, "the end stays the end"
            return bytes(output)
        output += buffer[:count]
    raise AssertionError


def decode(
    name: str,
    blob: bytes,
    pieces: Iterable[int] = (1 << 20,),
    buffers: Iterable[int] = (1 << 16,),
    limits: DecodeLimits | None = None,
) -> bytes:
    decoder = decoder_class(name)(Pieces(blob, pieces), limits or DecodeLimits())
    try:
        return drain(decoder, buffers)
    finally:
        decoder.close()
        decoder.close()


class Unseekable(io.BytesIO):
    """Makes zipfile write data descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def zip_of(
    members: dict[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    streamed: bool = False,
    zip64: bool = False,
    comment: bytes = b"",
) -> bytes:
    target = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(data)
    return target.getvalue()


def lha_header(method: bytes, packed: bytes, data: bytes, level: int = 0, name: bytes = b"disk.img") -> bytes:
    """LHa for UNIX, header.doc: levels 0, 1 (both with a one-byte sum) and 2 (with a CRC-16 in an extended header)."""
    fixed = method + struct.pack("<3I2B", len(packed), len(data), 0, 0x20, level)
    crc = struct.pack("<H", crc16(data))
    if level == 2:
        extended = struct.pack("<BHHB", 0, 0, len(name) + 3, 1) + name + b"\0\0"
        size = 2 + len(fixed) + 5 + len(extended)
        header = struct.pack("<H", size) + fixed + crc + b"U" + struct.pack("<H", 5) + extended
        return header[:27] + struct.pack("<H", crc16(header)) + header[29:]
    rest = fixed + bytes([len(name)]) + name + crc + (b"U\0\0" if level else b"")
    return bytes([len(rest), sum(rest) & 0xFF]) + rest


def lha_of(data: bytes, method: bytes = b"-lh5-", level: int = 0, name: bytes = b"disk.img", end: bytes = b"\0") -> bytes:
    packed = lh5(data) if method == b"-lh5-" else data
    return lha_header(method, packed, data, level, name) + packed + end


def crc16(data: bytes) -> int:
    """CRC-16/ARC as its definition reads, so that the code under test is not its own judge."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def lh5(data: bytes) -> bytes:
    """One block of literals. Its table says that all 256 have codes of eight bits, and so each is its own code."""
    return _packed(_literals(data))


def lh5_bomb(size: int) -> bytes:
    """Zeros, 65535 of them in 52 bits: a block whose table has one symbol needs no bits for it at all. At its end some literals,
    since libarchive 3.6 fails on a last block of less than eight bytes."""
    runs = (f"{0xFFFF:016b}" + "0" * 36) * (size // 0xFFFF)
    return _packed(runs + _literals(bytes(size % 0xFFFF)))


def _literals(data: bytes) -> str:
    header = f"{len(data):016b}" + f"{0:05b}{8 + 2:05b}" + f"{256:09b}" + f"{0:08b}"
    return header + "".join(f"{byte:08b}" for byte in data) if data else ""


def _packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
