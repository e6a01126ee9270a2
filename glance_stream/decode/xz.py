"""xz streams (The .xz File Format 1.2.1): concatenated streams, stream padding, any check the library knows."""

from __future__ import annotations

import lzma

from glance_stream.decode.framed import Frame, FramedDecoder
from glance_stream.errors import DecodeError, LimitExceeded


class XzDecoder(FramedDecoder):
    """Memory: the dictionary that the stream asks for, refused beyond ``DecodeLimits.max_memory``."""

    format = "xz"
    errors = (lzma.LZMAError,)

    def _open_frame(self) -> Frame:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=self._limits.max_memory)

    def _another_frame(self) -> bool:
        # 2.2: stream padding is NULs, a multiple of four bytes of them.
        if self._intake.skip_zeros() % 4:
            raise DecodeError("the xz stream is corrupt: its padding is not a multiple of four bytes")
        return super()._another_frame()

    def _explain(self, error: Exception) -> Exception:
        # liblzma's LZMA_MEMLIMIT_ERROR has no class of its own in Python; the text is _lzmamodule.c's.
        if "Memory usage limit" in str(error):
            return LimitExceeded(f"the xz stream needs more than {self._limits.max_memory >> 20} MiB of memory to decode")
        return super()._explain(error)
