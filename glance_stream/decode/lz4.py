"""LZ4 frames (lz4_Frame_format.md 1.6.3), one or many end to end, skippable frames between them."""

from __future__ import annotations

import lz4.frame  # type: ignore[import-untyped]

from glance_stream.decode.framed import Frame, FramedDecoder
from glance_stream.errors import DecodeError

MAGIC = 0x184D2204.to_bytes(4, "little")
_DICTIONARY = 0x01


class Lz4Decoder(FramedDecoder):
    """Memory: one block, at most 4 MiB, and 64 KiB of history. Damage is found only where the writer added checksums."""

    format = "lz4"
    errors = (RuntimeError, ValueError)

    def _open_frame(self) -> Frame:
        head = self._intake.peek(5)
        # Without its dictionary such a frame fails later with a message that says nothing, or decodes to something else.
        if head[:4] == MAGIC and len(head) == 5 and head[4] & _DICTIONARY:
            raise DecodeError("the lz4 frame needs a dictionary")
        return Lz4Frame()


class Lz4Frame:
    """One frame. The binding's own LZ4FrameDecompressor copies what it has not used yet at each call; this keeps a view."""

    def __init__(self) -> None:
        self._context = lz4.frame.create_decompression_context()
        self._rest: bytes | memoryview = b""
        self.eof = False

    @property
    def needs_input(self) -> bool:
        return not self._rest

    @property
    def unused_data(self) -> bytes:
        return bytes(self._rest)

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        source = data or self._rest
        output: bytes
        output, used, self.eof = lz4.frame.decompress_chunk(self._context, source, max_length=max_length)
        self._rest = source[used:]
        return output
