"""What a source of bytes is.

A source is opened once, read once from start to end on one thread, and closed. Everything here may block: the transfer runs it
on a thread of its own. An end of data (``readinto`` returns 0) means that the source is complete; anything else is an error, so
that a broken source can never pass for a short image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from glance_stream.errors import SourceError


@dataclass(frozen=True)
class SourceInfo:
    """What is known before the first byte. ``validator`` is an ETag, an mtime or the like: it changes when the content does."""

    size: int | None = None
    validator: str | None = None


class Source(ABC):
    """One stream of bytes. ``name`` is fit to show: no credentials in it."""

    name: str

    @abstractmethod
    def open(self) -> SourceInfo:
        """Make ready to read from the first byte. Raises SourceError; InvalidRequest if there is no such thing."""

    @abstractmethod
    def readinto(self, view: memoryview) -> int:
        """Read up to ``len(view)`` bytes into ``view``; 0 only at the end of a complete stream. Raises SourceError."""

    def reopen(self, offset: int) -> None:
        """Go on at ``offset``, its end included, of the very content that `open` found, whatever was read or broke meanwhile.

        Raises SourceError where the content has changed since, and from a source that can only be read in one go.
        """
        raise SourceError(f"{self.name} can only be read from its beginning to its end")

    def fileno(self) -> int | None:
        """A descriptor whose plain reads give the same bytes as readinto, for reading without the GIL; None if there is none."""
        return None

    def verify_unchanged(self) -> None:
        """Called after the last byte. Raises SourceError if what was read may be a mix of two contents."""

    def interrupt(self) -> None:
        """Make a readinto that blocks on another thread fail soon. Any thread; may be called twice."""

    @abstractmethod
    def close(self) -> None:
        """Let everything go. Any state, any number of times."""
