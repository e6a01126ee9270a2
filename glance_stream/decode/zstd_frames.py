"""The skeleton of a zstd stream (RFC 8878, 3.1): where frames and blocks begin and end, without decoding them.

python-zstandard's stream reader takes the end of its input for the end of the data, wherever it comes: a truncated stream looks
like a short one. Walking beside it tells the two apart, finds garbage after the last frame, and refuses a window that is too
large before it is allocated. The price is about a microsecond per block, 128 KiB of output as a rule.
"""

from __future__ import annotations

from collections.abc import Callable

from glance_stream.errors import DecodeError, LimitExceeded

MAGIC = 0xFD2FB528.to_bytes(4, "little")
LARGEST_WINDOW = 2 << 30  # what zstd itself can write: --ultra --long=31
_SKIPPABLE = 0x184D2A50 >> 4
_LARGEST_BLOCK = 128 << 10
RLE, COMPRESSED, _RESERVED = 1, 2, 3


def is_skippable(magic: bytes) -> bool:
    """Whether these four bytes begin a skippable frame, which zstd and lz4 share."""
    return len(magic) == 4 and int.from_bytes(magic, "little") >> 4 == _SKIPPABLE


class FrameWalk:
    """Fed with every compressed byte, in any pieces."""

    def __init__(self, max_window: int) -> None:
        self._max_window = max_window
        self.blocks = self.skipped = 0  # frames that hold no blocks
        self.block = (0, 0, 0)  # last, kind, size
        self.window = 0
        self.content_size: int | None = 0  # all frames' so far, None once one of them doesn't say
        self._skip = 0
        self._field = bytearray()
        self._begun = False
        self._single_segment = False
        self._checksum = False
        self._window_bytes = self._dictionary_bytes = 0
        self._await(4, self._magic)

    @property
    def complete(self) -> bool:
        """Whether the bytes so far are one or more whole frames and nothing else."""
        return self._begun and not self._skip and not self._field and self._next == self._magic

    @property
    def ahead(self) -> int:
        """How many bytes there are to the next decision."""
        return self._skip or self._length - len(self._field)

    def feed(self, data: bytes) -> None:
        """Raises DecodeError where this can't be zstd, LimitExceeded for a window larger than allowed."""
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self.ahead, end - at)
                self._skip -= step
            else:
                step = min(self.ahead, end - at)
                self._field += data[at : at + step]
                self._finish_field()
            at += step

    def _finish_field(self) -> None:
        if len(self._field) == self._length:
            field = bytes(self._field)
            self._field.clear()
            self._next(field)

    def _await(self, length: int, then: Callable[[bytes], None]) -> None:
        self._length = length
        self._next = then

    def _magic(self, field: bytes) -> None:
        if field == MAGIC:
            self._await(1, self._descriptor)
        elif is_skippable(field):
            self._await(4, self._skippable_size)
        elif self._begun:
            raise DecodeError("garbage after the last zstd frame")
        else:
            raise DecodeError("not a zstd stream: wrong magic bytes")
        self._begun = True

    def _skippable_size(self, field: bytes) -> None:
        self._skip = int.from_bytes(field, "little")
        self.skipped += 1
        self._await(4, self._magic)

    def _descriptor(self, field: bytes) -> None:
        descriptor = field[0]
        if descriptor & 0x08:
            raise DecodeError("the zstd frame header has its reserved bit set")
        self._single_segment = bool(descriptor & 0x20)
        self._checksum = bool(descriptor & 0x04)
        self._window_bytes = 0 if self._single_segment else 1
        self._dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
        content_size_bytes = (1 if self._single_segment else 0, 2, 4, 8)[descriptor >> 6]
        rest = self._window_bytes + self._dictionary_bytes + content_size_bytes
        self._await(rest, self._rest_of_header)

    def _rest_of_header(self, field: bytes) -> None:
        dictionary = field[self._window_bytes : self._window_bytes + self._dictionary_bytes]
        if any(dictionary):
            raise DecodeError("the zstd frame needs a dictionary")
        content_size = field[self._window_bytes + self._dictionary_bytes :]
        if not content_size:
            self.content_size = None
        elif self.content_size is not None:
            self.content_size += _content_size(content_size)
        self.window = window = _content_size(content_size) if self._single_segment else _window(field[0])
        if window > self._max_window:
            raise LimitExceeded(
                f"the zstd frame needs a window of {window >> 20} MiB, at most {self._max_window >> 20} are allowed"
            )
        self._await(3, self._block)

    def _block(self, field: bytes) -> None:
        header = int.from_bytes(field, "little")
        last, kind, size = self.block = header & 1, header >> 1 & 3, header >> 3
        self.blocks += 1
        if kind == _RESERVED or size > _LARGEST_BLOCK or (kind == COMPRESSED and not size):  # the last libzstd passes, streaming
            raise DecodeError("the zstd stream is corrupt: a block header is not valid")
        self._skip = 1 if kind == RLE else size
        if last:
            self._skip += 4 if self._checksum else 0
            self._await(4, self._magic)


def _window(descriptor: int) -> int:
    """3.1.1.1.2."""
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _content_size(field: bytes) -> int:
    """3.1.1.1.4: a field of two bytes counts from 256."""
    return int.from_bytes(field, "little") + (256 if len(field) == 2 else 0)
