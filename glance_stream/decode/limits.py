"""What a stream may not do however well it decodes: grow too large, expand too far, or hold another compressed stream."""

from __future__ import annotations

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.decode.sniff import SNIFF_SIZE, sniff
from glance_stream.errors import FormatRejected, LimitExceeded


class Counted:
    """A reader that knows how many bytes have been pulled through it, and asks no more once it has been told of the end."""

    def __init__(self, reader: CompressedReader) -> None:
        self._reader = reader
        self._ended = False
        self.pulled = 0

    def read(self, size: int = -1, /) -> bytes:
        data = b"" if self._ended else self._reader.read(size)
        self._ended = not data
        self.pulled += len(data)
        return data


class Limited(Decoder):
    """Enforces ``max_size`` and ``max_ratio``. Never hands out a byte beyond ``max_size``.

    The ratio is taken over the bytes that were pulled, which include at most one piece that has not been decoded yet.
    """

    def __init__(self, decoder: Decoder, compressed: Counted, limits: DecodeLimits) -> None:
        self.format = decoder.format
        self._decoder = decoder
        self._compressed = compressed
        self._limits = limits
        self._decoded = 0

    def readinto(self, view: memoryview) -> int:
        left = self._limits.max_size - self._decoded
        if not left:
            return self._expect_end()
        produced = self._decoder.readinto(view[:left])
        self._decoded += produced
        self._check_ratio()
        return produced

    def close(self) -> None:
        self._decoder.close()

    def _expect_end(self) -> int:
        if self._decoder.readinto(memoryview(bytearray(1))):
            raise LimitExceeded(f"the {self.format} stream decodes to more than {self._limits.max_size} bytes")
        return 0

    def _check_ratio(self) -> None:
        limits = self._limits
        if self._decoded > limits.ratio_grace and self._decoded > limits.max_ratio * self._compressed.pulled:
            raise LimitExceeded(
                f"the {self.format} stream expands more than {limits.max_ratio} times: "
                f"{self._decoded} bytes from {self._compressed.pulled}"
            )


class Unnested(Decoder):
    """Refuses content that is compressed itself: Glance would store the inner stream as if it were the disk.

    The first SNIFF_SIZE decoded bytes are held until they have been looked at.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.format = decoder.format
        self._decoder = decoder
        self._head: memoryview | None = None
        self._closed = False

    def readinto(self, view: memoryview) -> int:
        if self._closed:
            raise ValueError("the decoder is closed")
        if self._head is None:
            self._head = self._read_head()
        if not self._head:
            return self._decoder.readinto(view)
        count = min(len(view), len(self._head))
        view[:count] = self._head[:count]
        self._head = self._head[count:]
        return count

    def close(self) -> None:
        self._closed = True
        self._decoder.close()

    def _read_head(self) -> memoryview:
        head = memoryview(bytearray(SNIFF_SIZE))
        size = 0
        while size < SNIFF_SIZE and (count := self._decoder.readinto(head[size:])):
            size += count
        inner = sniff(bytes(head[:size])).format
        if inner is not None:
            raise FormatRejected(f"nested compression: {inner} inside {self.format}")
        return head[:size]
