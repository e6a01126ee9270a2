"""What the library that everybody uses makes of a stream, and for which reasons we may refuse what it takes.

A reference gives the bytes, None where it has no opinion (more than is worth looking at), or raises what it likes.
"""

from __future__ import annotations

import bz2
import ctypes
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from typing import IO

import lz4.frame

from glance_stream.decode.lha_header import crc16

MOST = 1 << 20
MEMORY = 8 << 20

ZSTD_DST_TOO_SMALL = 70  # zstd_errors.h
LZMA_CONCATENATED, LZMA_MEMLIMIT_ERROR, LZMA_BUF_ERROR = 0x08, 6, 10  # lzma/container.h, lzma/base.h

# Reasons beyond those of all formats, each with why the reference is too lenient.
REFUSALS = {
    # gzip: flags that must be zero, a header's CRC and names without an end are never looked at by Python.
    "gzip": r"reserved flags|header's checksum|name or comment doesn't end|garbage after the last member",
    # python-zstandard brings a libzstd of its own, and a newer one finds more damage in a frame without a checksum. A block that
    # decodes to more than the window (RFC 8878, 3.1.1.2.4) is noticed only in a stream, by the tool too.
    "zstd": r"window of|garbage after|Data corruption detected|Destination buffer is too small",
    "xz": r"needs more than",
    # What follows a whole stream is left unread by Python's bz2, whatever it is.
    "bz2": r"corrupt: |truncated",
    "lz4": r"needs a dictionary",
    # zipfile believes the directory at the end and reads nothing else; here both descriptions have to be the same.
    "zip": r"zip|compressed stream is truncated",
    "lha": r"$^",
}
# What we take though the reference doesn't; the data's CRC-32 has to be right all the same. ISA-L builds tables from sets of
# Huffman codes that are not complete (RFC 1951, 3.2.7), which zlib refuses to. And zipfile refuses a "version needed" that is
# higher than the present one, where we look at what it stands for, the method and the flags.
_CODES = r"invalid (distances|literal/lengths|code lengths) set"
LENIENCE = {"gzip": _CODES, "zip": rf"{_CODES}|zip file version"}
OF_ALL = r"nested compression|expands more than|decodes to more than"


def may_refuse(name: str, reason: str) -> bool:
    return re.search(f"{OF_ALL}|{REFUSALS[name]}", reason) is not None


def may_take(name: str, reason: str) -> bool:
    return name in LENIENCE and re.search(LENIENCE[name], reason) is not None


def reference(name: str, blob: bytes) -> bytes | None:
    return REFERENCES[name](blob)


def _by_file(opened: IO[bytes]) -> bytes | None:
    with opened:
        content = opened.read(MOST + 1)
        return None if len(content) > MOST else content + opened.read()


def _zstd(blob: bytes) -> bytes | None:
    """The system's libzstd in one call: neither the streaming code, nor the copy of the library in python-zstandard."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    target = ctypes.create_string_buffer(MOST)
    count = library.ZSTD_decompress(target, ctypes.c_size_t(MOST), blob, ctypes.c_size_t(len(blob)))
    if count == ctypes.c_size_t(-ZSTD_DST_TOO_SMALL).value:
        return None
    if count > MOST:
        raise ValueError("libzstd refuses it")
    return target.raw[:count]


def _xz(blob: bytes) -> bytes | None:
    """The system's liblzma in one call, with what `xz -d` asks of it. Python's lzma knows no padding, and takes garbage for it."""
    library = ctypes.CDLL("liblzma.so.5")
    memory, taken, given = (ctypes.c_uint64(value) for value in (MEMORY, 0, 0))
    target = ctypes.create_string_buffer(MOST)
    status = library.lzma_stream_buffer_decode(
        ctypes.byref(memory), ctypes.c_uint32(LZMA_CONCATENATED), None, blob, ctypes.byref(taken),
        ctypes.c_size_t(len(blob)), target, ctypes.byref(given), ctypes.c_size_t(MOST),
    )  # fmt: skip
    if status in (LZMA_MEMLIMIT_ERROR, LZMA_BUF_ERROR):
        return None
    if status or taken.value != len(blob):
        raise ValueError(f"liblzma refuses it: {status}")
    return target.raw[: given.value]


def _zip(blob: bytes) -> bytes | None:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        files = [info for info in archive.infolist() if not info.filename.endswith("/")]
        if len(files) != 1:
            raise ValueError("not one file")
        with archive.open(files[0]) as member:
            content = member.read(MOST + 1)
            return None if len(content) > MOST else content


def _lha(blob: bytes) -> bytes | None:
    """No second decoder is at hand. The header says what CRC-16 the data has, which `agrees` looks at."""
    return None


REFERENCES: dict[str, Callable[[bytes], bytes | None]] = {
    "gzip": lambda blob: _by_file(gzip.GzipFile(fileobj=io.BytesIO(blob))),
    "zstd": _zstd,
    "xz": _xz,
    "bz2": lambda blob: _by_file(bz2.BZ2File(io.BytesIO(blob))),
    "lz4": lambda blob: _by_file(lz4.frame.LZ4FrameFile(io.BytesIO(blob))),
    "zip": _zip,
    "lha": _lha,
}


def check_lha(blob: bytes, content: bytes) -> None:
    """The size and the CRC-16 of the first member, if that is the file."""
    if blob[2:7] == b"-lhd-":
        return
    at = 22 + blob[21] if blob[20] in (0, 1) else 21
    assert int.from_bytes(blob[11:15], "little") == len(content) or blob[20] == 2
    assert int.from_bytes(blob[at : at + 2], "little") == crc16(content)
