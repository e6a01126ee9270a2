"""Strings as Ceph's ``encode`` has them: the length in 32 bits, little-endian, then the bytes."""

from __future__ import annotations

import struct


def encoded(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def decoded(held: bytes, at: int = 0) -> tuple[str, int]:
    """The string there, and where it ends. '' where there is none, as in an object whose creator died."""
    if len(held) < at + 4:
        return "", at
    (length,) = struct.unpack_from("<I", held, at)
    end = at + 4 + length
    return held[at + 4 : end].decode(), end
