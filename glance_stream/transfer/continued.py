"""A source whose beginning is read from what a dead transfer of it has left in a store, instead of once more over the network.

Both are told by what that transfer had recorded: the source's name, size and ETag, and each slot's fingerprint. The first slot is
always read from the source itself, so that two sources that merely look alike are told apart where they begin. A slot that can't be
read back, or is not as recorded, ends the beginning: from there on the source is read, by `Source.reopen`, which never joins pieces
of different contents. Whatever is given is hashed and checked like any stream.
"""

from __future__ import annotations

import logging

import xxhash

from glance_stream.errors import GlanceStreamError, StoreError
from glance_stream.model import Beginning
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.transfer.intake import fill
from glance_stream.transfer.request import TransferRequest

LOG = logging.getLogger(__name__)

FINGERPRINT_SIZE = 16


def is_recognised(info: SourceInfo) -> bool:
    """Whether the source can be told from others, and from itself once changed: by its size and a strong ETag (RFC 9110, 8.8.3)."""
    return info.size is not None and info.validator is not None and info.validator.startswith('"')


def continue_source(request: TransferRequest) -> Source:
    """The request's source; what an interrupted transfer has read of it comes from the first store that can be read back."""
    for store in request.stores:
        trace = request.resume.get(store.store_id)
        if trace is not None and store.traits.rereadable and request.beginning is not None:
            try:
                return ContinuedSource(request.source, store.open_left(trace), request.beginning)
            except StoreError as error:  # no trace of this store's
                LOG.info("%s", error)
    return request.source


class ContinuedSource(Source):
    """``left``: what the dead transfer has left. ``spared``: bytes that were read there and not from the source."""

    def __init__(self, inner: Source, left: Source, beginning: Beginning) -> None:
        self.name = inner.name
        self.spared = 0
        self._inner = inner
        self._left = left
        self._beginning = beginning
        self._slot_size = beginning.fingerprints.slot_size
        self._slots = len(beginning.fingerprints.digests) // FINGERPRINT_SIZE
        self._first = xxhash.xxh3_128()
        self._at = 0
        self._usable = self._opened = False
        self._slot = memoryview(b"")  # what is still to be given of the slot that was read back last

    def open(self) -> SourceInfo:
        info = self._inner.open()
        beginning = self._beginning
        same = (self.name, info.size, info.validator) == (beginning.name, beginning.size, beginning.validator)
        self._usable = same and is_recognised(info) and self._slots > 1
        return info

    def reopen(self, offset: int) -> None:
        self._usable, self._slot = False, memoryview(b"")
        self._inner.reopen(offset)

    def readinto(self, view: memoryview) -> int:
        if self._usable and self._at < self._slot_size:
            return self._read_first(view)
        if not self._slot and self._usable:
            self._read_back()
        if not self._slot:
            return self._inner.readinto(view)
        count = min(len(view), len(self._slot))
        view[:count] = self._slot[:count]
        self._slot = self._slot[count:]
        self._at += count
        self.spared += count
        return count

    def _read_first(self, view: memoryview) -> int:
        with view[: self._slot_size - self._at] as room:
            count = self._inner.readinto(room)
            self._first.update(room[:count])
        self._at += count
        if not count or (self._at == self._slot_size and self._first.digest() != self._recorded(0)):
            self._usable = False
        return count

    def _read_back(self) -> None:
        """The next slot; or none, and the source is where it would be."""
        number = self._at // self._slot_size
        if number < self._slots and self._read_slot(number):
            return
        self._usable = False
        self._left.close()
        if self.spared:
            self._inner.reopen(self._at)

    def _read_slot(self, number: int) -> bool:
        buffer = bytearray(self._slot_size)
        try:
            if not self._opened:
                self._left.open()
                self._left.reopen(self._at)
                self._opened = True
            with memoryview(buffer) as room:
                count = fill(self._left.readinto, room)
        except GlanceStreamError as error:
            LOG.info("%s is read from byte %d: %s", self.name, self._at, error)
            return False
        if count < len(buffer) or xxhash.xxh3_128_digest(buffer) != self._recorded(number):
            return False
        self._slot = memoryview(buffer)
        return True

    def _recorded(self, number: int) -> bytes:
        return self._beginning.fingerprints.digests[number * FINGERPRINT_SIZE : (number + 1) * FINGERPRINT_SIZE]

    def verify_unchanged(self) -> None:
        self._inner.verify_unchanged()

    def interrupt(self) -> None:
        self._left.interrupt()
        self._inner.interrupt()

    def close(self) -> None:
        self._slot = memoryview(b"")
        self._left.close()
        self._inner.close()
