"""What a decoder is, and the limits it works within.

A decoder pulls compressed bytes from a reader and fills the caller's buffer with decoded ones, so that the size of the caller's
buffer bounds what it produces: a decompression bomb can't make it allocate. The end of data is reported only after the trailer
has been verified and the compressed stream is known to hold nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from glance_stream.errors import LimitExceeded


class CompressedReader(Protocol):
    """The compressed side."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, at least one; b'' only at the end of a complete stream. Raises SourceError, LaneStopped."""


@dataclass(frozen=True)
class DecodeLimits:
    """What an untrusted stream may cost.

    max_size: decoded bytes (Glance's `image_size_cap`, 1 TiB). max_ratio: decoded over compressed bytes, looked at once
    ``ratio_grace`` bytes have been decoded, so that small images of zeros pass. max_memory: bytes of window or dictionary that
    a decoder may have to hold (`zstd -d` and `xz -9` need at most this by default). least_per_frame: decoded bytes that frames must
    have on average, looked at once there are more than ``frame_grace`` of them: a frame costs some 20 us whatever it holds, and
    what compressors write holds 64 KiB and more.
    """

    max_size: int = 1 << 40
    max_ratio: int = 100_000
    ratio_grace: int = 1 << 30
    max_memory: int = 128 << 20
    least_per_frame: int = 512
    frame_grace: int = 10_000

    def check_frames(self, format: str, frames: int, decoded: int) -> None:
        """Raises LimitExceeded."""
        if frames > self.frame_grace and decoded < frames * self.least_per_frame:
            raise LimitExceeded(
                f"the {format} stream has {frames} frames or blocks with less than {self.least_per_frame} bytes in each on "
                "average: pack the image anew"
            )


class Decoder(ABC):
    """One compressed stream being decoded. Blocking; used by one thread."""

    format: str

    @abstractmethod
    def readinto(self, view: memoryview) -> int:
        """Decode up to ``len(view)`` bytes into ``view``; 0 only if the stream was complete, verified and had nothing after it.

        ``view`` is writable, of bytes, contiguous and not empty; nothing of it is kept. Fewer bytes than asked for say nothing.
        After an error the decoder is of no more use, except to be closed.
        Raises DecodeError (truncated, corrupt, trailing garbage), LimitExceeded, and what the reader raises.
        """

    def close(self) -> None:
        """Let memory go; nothing is read afterwards. May be called twice."""
