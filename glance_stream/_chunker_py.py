"""The compiled core's Python twin: the same classes and the same behaviour, slowly and plainly.

It is the oracle: every test of the core runs on both, and where they differ one of them is wrong. It runs a transfer only when
``GLANCE_STREAM_PURE=1`` asks for it (`chunker`). Contract: ``_chunker.pyi``.
"""

from __future__ import annotations

import hashlib
from typing import final

from glance_stream._chunker_py_ring import DEFAULT_SLOT_SIZE, DEFAULT_SLOTS, PAGE_SIZE, Lane, LaneStopped, Ring, Slot
from glance_stream._chunker_py_write import StreamWriter

__all__ = [
    "COMPILED",
    "DEFAULT_SLOTS",
    "DEFAULT_SLOT_SIZE",
    "PAGE_SIZE",
    "DigestLane",
    "DigestRefused",
    "Lane",
    "LaneStopped",
    "Ring",
    "Slot",
    "WriteLane",
]

COMPILED = False

# By hashlib's names it would compute these two itself and never ask OpenSSL.
OPENSSL_NAMES = {"blake2b": "blake2b512", "blake2s": "blake2s256"}


class DigestRefused(ValueError):
    """The system's crypto library refuses this algorithm (FIPS), or nothing here knows it."""


@final
class DigestLane(Lane):
    """Hashes the stream on the thread that calls run()."""

    def __init__(self, ring: Ring, algorithm: str) -> None:
        self._hasher = _hasher(algorithm)
        self._algorithm = algorithm
        self._result: str | None = None
        super().__init__(ring)

    @property
    def algorithm(self) -> str:
        return self._algorithm

    @property
    def native(self) -> bool:
        return False

    def run(self) -> None:
        if self._result is not None:
            return
        for slot in self:
            with slot.view as view:
                self._hasher.update(view)
        self._result = self._hasher.hexdigest()

    def hexdigest(self) -> str:
        if self._result is None:
            raise ValueError("the stream has not been hashed to its end")
        return self._result


def _hasher(algorithm: str) -> hashlib._Hash:
    try:
        hasher = hashlib.new(OPENSSL_NAMES.get(algorithm, algorithm))
    except (TypeError, ValueError) as error:  # TypeError also for a name that is no C string
        if not isinstance(algorithm, str):
            raise
        raise DigestRefused(f"unknown digest algorithm {algorithm!r}") from error
    # Where OpenSSL refuses, hashlib quietly takes code of its own, which would get round the system's FIPS rules.
    if type(hasher).__module__ != "_hashlib":
        raise DigestRefused(f"the system's OpenSSL refuses {algorithm}")
    if not hasher.digest_size:
        raise DigestRefused(f"{algorithm} has no fixed length")
    return hasher


@final
class WriteLane(Lane):
    """Writes the stream to a descriptor on the thread that calls run()."""

    def __init__(self, ring: Ring, fd: int, *, thin: bool = False, direct: bool = True, held: int = 0) -> None:
        self._writer = StreamWriter(fd, thin=thin, direct=direct, held=held)
        super().__init__(ring)

    @property
    def kept(self) -> int:
        return self._writer.kept

    @property
    def mode(self) -> str:
        return self._writer.mode

    def run(self) -> None:
        try:
            with self._writer:
                for slot in self:
                    with slot.view as view:
                        self._writer.write(view, slot.offset, zero=slot.zero)
                self._writer.end(self.position)
        except OSError:
            self.detach()
            raise
