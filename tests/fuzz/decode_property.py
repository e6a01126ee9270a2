"""What must hold for every input of every decoder."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path

from decode_reference import check_lha, may_refuse, may_take, reference

from glance_stream.decode import SNIFF_SIZE, DecodeLimits, choose, open_decoder, sniff
from glance_stream.errors import DecodeError, FormatRejected, GlanceStreamError, LimitExceeded

LIMITS = DecodeLimits(max_size=1 << 20, max_ratio=1000, ratio_grace=256 << 10, max_memory=8 << 20)
OURS = (DecodeError, FormatRejected, LimitExceeded)
# Beside max_memory and the output: a decoder's own tables (bz2 has 4 MB), one piece, the intake's, one output, allocators' slack.
FIXED_MEMORY = 16 << 20


class Reader:
    """Gives pieces of the sizes told, and fails if asked on and on: a decoder that makes no progress would never end."""

    def __init__(self, blob: bytes, sizes: Sequence[int]) -> None:
        self._blob = blob
        self._sizes = itertools.cycle(sizes)
        self._at = 0
        self._empty = 0

    def read(self, size: int = -1, /) -> bytes:
        wanted = next(self._sizes)
        piece = self._blob[self._at : self._at + (wanted if size < 0 else min(wanted, size))]
        self._at += len(piece)
        self._empty += not piece
        assert self._empty < 10, "asked for more again and again after the end"
        return piece


def outcome(name: str, blob: bytes, pieces: Sequence[int], buffers: Sequence[int]) -> bytes | GlanceStreamError:
    """All bytes, or the error of ours that came instead; any other error passes."""
    content = bytearray()
    decoder = open_decoder(name, Reader(blob, pieces), LIMITS)
    try:
        for size in itertools.cycle(buffers):
            buffer = bytearray(b"\xa5" * (size + 8))
            with memoryview(buffer) as whole, whole[:size] as view:
                count = decoder.readinto(view)
            assert 0 <= count <= size
            assert buffer[size:] == b"\xa5" * 8, "wrote behind the buffer"
            if not count:
                return bytes(content)
            content += buffer[:count]
            assert len(content) <= LIMITS.max_size
    except OURS as error:
        return error
    finally:
        decoder.close()
    raise AssertionError


def check(name: str, blob: bytes) -> bool:
    """Whether it decodes. AssertionError where a property doesn't hold."""
    check_sniff(blob)
    seed = zlib.crc32(blob)  # awkward pieces, the same ones each time
    odd = (1 + seed % 7, 1 + seed // 7 % 300, 1 + seed // 2100 % 40)
    with Memory() as memory:
        whole = outcome(name, blob, [1 << 20], [1 << 16])
    assert memory.peak <= LIMITS.max_memory + LIMITS.max_size + FIXED_MEMORY, f"{memory.peak >> 20} MiB"
    parts = outcome(name, blob, odd, [1 + seed % 5000, 17])
    if isinstance(whole, bytes):
        # By then more may have been decoded for the bytes that were pulled; that limit alone depends on the pieces.
        assert parts == whole or isinstance(parts, LimitExceeded), f"whole: {len(whole)} bytes, in pieces: {parts!r}"
    else:
        assert not isinstance(parts, bytes) or isinstance(whole, LimitExceeded), f"whole: {whole!r}, in pieces it decodes"
    _compare(name, blob, whole)
    return isinstance(whole, bytes)


def check_sniff(blob: bytes) -> None:
    """Never an error, and one answer."""
    found = sniff(blob[:SNIFF_SIZE])
    assert found.format is None or found.resembles is None
    assert choose("auto", blob[:SNIFF_SIZE]) == found.format


def _compare(name: str, blob: bytes, ours: bytes | GlanceStreamError) -> None:
    if not blob:
        assert not isinstance(ours, bytes)  # some take nothing for a whole stream of nothing
        return
    theirs, reason = _judgement(name, blob)
    if reason:
        assert not isinstance(ours, bytes) or may_take(name, reason), f"the reference refuses what we take: {reason}"
    elif isinstance(ours, bytes):
        assert theirs is None or ours == theirs, "not the reference's bytes"
        if name == "lha":
            check_lha(blob, ours)
    elif theirs is not None:
        assert may_refuse(name, str(ours)), f"the reference takes it, and we refuse with {ours!r}"


def _judgement(name: str, blob: bytes) -> tuple[bytes | None, str]:
    try:
        return reference(name, blob), ""
    except Exception as error:  # a reference may fail as it likes
        return None, repr(error)


class Memory:
    """How far the process's memory grew within, at its highest. The kernel counts it, so what C libraries allocate is in it."""

    def __enter__(self) -> Memory:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        self._before = self._read("VmHWM")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.peak = self._read("VmHWM") - self._before

    @staticmethod
    def _read(field: str) -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))
