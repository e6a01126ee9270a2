"""Formats whose streams are frames (members, streams) laid end to end, each decoded by an object of one well-known shape."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.decode.intake import PIECE, Intake
from glance_stream.errors import DecodeError

# A new frame is fed little at first and then twice as much each time. What a frame does not use is copied by the decompressor,
# so that with whole pieces a stream of thousands of tiny frames would cost the square of a piece.
FIRST_FEED = 4 << 10

# Decompressors return new bytes, so this much memory is held beside the caller's. Each call gives the GIL away once and has to wait
# for it afterwards, up to 5 ms in a busy process: with 256 KiB there are three times as many calls, and none is faster.
LARGEST_OUTPUT = 1 << 20


class Frame(Protocol):
    """The shape of bz2.BZ2Decompressor: output bounded by ``max_length``, input that was not used yet kept inside."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class FramedDecoder(Decoder):
    """Decodes frame after frame until the stream ends where a frame ends. One copy: from the decompressor's bytes to the view."""

    errors: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, reader: CompressedReader, limits: DecodeLimits) -> None:
        self._intake = Intake(reader)
        self._limits = limits
        self._frame: Frame | None = None
        self._feed = FIRST_FEED
        self._complete = False
        self._frames = 0
        self._decoded = 0

    def readinto(self, view: memoryview) -> int:
        if self._frame is None and not self._complete:
            self._frame = self._first_frame()
        while self._frame is not None:
            produced = self._decode(self._frame, view)
            if produced:
                return produced
        return 0

    def close(self) -> None:
        self._frame = None

    @abstractmethod
    def _open_frame(self) -> Frame:
        """A decompressor for the frame that begins at the intake's next byte; a header it can't read itself is taken here."""

    def _another_frame(self) -> bool:
        """Called after a frame: whether one more follows. Takes padding where the format has such a thing."""
        return not self._intake.at_end()

    def _explain(self, error: Exception) -> Exception:
        """What to raise for an error of the decompressor."""
        return DecodeError(f"the {self.format} stream is corrupt: {error}")

    def _first_frame(self) -> Frame:
        if self._intake.at_end():
            raise DecodeError(f"the {self.format} stream is truncated: it has no bytes at all")
        return self._open_frame()

    def _decode(self, frame: Frame, view: memoryview) -> int:
        output = self._decompress(frame, min(len(view), LARGEST_OUTPUT))
        view[: len(output)] = output
        self._decoded += len(output)
        if frame.eof:
            self._next_frame(frame.unused_data)
        return len(output)

    def _decompress(self, frame: Frame, size: int) -> bytes:
        data: bytes | memoryview = b""
        if frame.needs_input:
            data = self._intake.piece(self._feed)
            self._feed = min(self._feed * 2, PIECE)
            if not data:
                raise DecodeError(f"the {self.format} stream is truncated")
        try:
            return frame.decompress(data, size)
        except self.errors as error:
            raise self._explain(error) from error

    def _next_frame(self, unused: bytes) -> None:
        self._intake.give_back(unused)
        self._feed = FIRST_FEED
        self._frame = None
        self._frames += 1
        self._limits.check_frames(self.format, self._frames, self._decoded)
        if self._another_frame():
            self._frame = self._open_frame()
        else:
            self._complete = True
