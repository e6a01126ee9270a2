"""zstd frames (RFC 8878), one or many end to end, skippable frames among them (pzstd writes such)."""

from __future__ import annotations

import zstandard

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.decode.intake import PIECE
from glance_stream.decode.zstd_frames import FrameWalk
from glance_stream.errors import DecodeError


class ZstdDecoder(Decoder):
    """Decodes into the caller's buffer, no copy between. Memory: the frame's window, at most ``DecodeLimits.max_memory``."""

    format = "zstd"

    def __init__(self, reader: CompressedReader, limits: DecodeLimits) -> None:
        self._watched = _Watched(reader, FrameWalk(limits.max_memory), limits)
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.max_memory)
        self._produced = 0
        self._stream = decompressor.stream_reader(self._watched, PIECE, read_across_frames=True, closefd=False)  # type: ignore[arg-type]

    def readinto(self, view: memoryview) -> int:
        self._watched.decoded = self._produced + len(view)
        try:
            produced = self._stream.readinto(view)
        except zstandard.ZstdError as error:
            raise DecodeError(f"the zstd stream is corrupt: {error}") from error
        self._produced += produced
        if not produced:
            self._check_end()
        return produced

    def close(self) -> None:
        self._stream.close()  # type: ignore[no-untyped-call]

    def _check_end(self) -> None:
        walk = self._watched.walk
        if not walk.complete:
            raise DecodeError("the zstd stream is truncated")
        # libzstd 1.5 looks at a frame's content size too, but not in a stream whose last block is empty.
        if walk.content_size not in (None, self._produced):
            raise DecodeError(f"the zstd stream's frames state {walk.content_size} bytes and hold {self._produced}")


class _Watched:
    """The reader as libzstd sees it; what passes is shown to the walk first. ``decoded``: bytes so far, or more."""

    def __init__(self, reader: CompressedReader, walk: FrameWalk, limits: DecodeLimits) -> None:
        self._reader = reader
        self.walk = walk
        self._limits = limits
        self.decoded = 0

    def read(self, size: int = -1, /) -> bytes:
        # Those of before: they are decoded by now.
        self._limits.check_frames("zstd", self.walk.blocks + self.walk.skipped, self.decoded)
        data = self._reader.read(size)
        self.walk.feed(data)
        return data
