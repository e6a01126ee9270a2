"""Contract of the compiled core (``src/_chunker.pyx``) and of its Python twin (``_chunker_py.py``).

A :class:`Ring` is a fixed set of page-aligned slots with one producer and any number of lanes. A slot is reused when every live
lane has let it go, so the slowest live lane sets the pace and memory stays ``slots x slot_size``. Lanes are added before the
first byte. A lane that fails or is detached no longer holds a slot and disturbs no other.

Ownership: a slot's memory belongs to the ring. A lane may read it between ``take`` and ``release`` only.
"""

from collections.abc import Iterator
from typing import Self, final

from typing_extensions import disjoint_base

COMPILED: bool
PAGE_SIZE: int
DEFAULT_SLOTS: int
DEFAULT_SLOT_SIZE: int

class LaneStopped(Exception):
    """The ring failed or the lane was detached: the bytes seen so far are not the whole stream."""

class DigestRefused(ValueError):
    """The system's crypto library refuses this algorithm (FIPS), or nothing here knows it."""

@final
class Slot:
    """A published run of bytes."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def zero(self) -> bool: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def view(self) -> memoryview:
        """The ``length`` bytes, read-only. ValueError once the slot is released."""
    def __len__(self) -> int: ...

@final
class Ring:
    def __new__(cls, slots: int = ..., slot_size: int = ...) -> Self: ...
    @property
    def slots(self) -> int: ...
    @property
    def slot_size(self) -> int: ...
    @property
    def produced(self) -> int:
        """Bytes published so far."""
    @property
    def failed(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    def reserve(self) -> memoryview:
        """Wait for the next free slot; returns its ``slot_size`` writable bytes. Producer only. Raises LaneStopped after fail()."""
    def publish(self, length: int) -> None:
        """Hand the reserved slot to the lanes. Only the last slot may be shorter than ``slot_size``; ValueError otherwise."""
    def fill_fd(self, fd: int, prefix: bytes = ...) -> int:
        """Publish ``prefix`` and then all that ``fd`` holds from its current position, without the GIL.

        Returns the bytes published by this call. Raises OSError, LaneStopped. Does not call finish().
        """
    def finish(self) -> None:
        """The stream is complete."""
    def fail(self) -> None:
        """The stream is not complete and never will be: every lane and the producer stop. May be called at any time, twice."""
    def fingerprints(self) -> bytes:
        """xxh3-128 of each slot published so far, 16 bytes each, big-endian as ``xxhash.xxh3_128_digest`` gives them."""
    def lane(self) -> Lane:
        """Add a lane read from Python. ValueError once a slot is published."""

@disjoint_base  # PEP 800: a C layout of its own
class Lane:
    def __init__(self, ring: Ring) -> None: ...
    @property
    def position(self) -> int:
        """Bytes this lane has let go."""
    @property
    def detached(self) -> bool: ...
    def take(self) -> Slot | None:
        """Wait for the next slot; None at the end of a complete stream. Raises LaneStopped."""
    def release(self) -> None:
        """Let the taken slot go. BufferError if somebody still holds a view of it."""
    def detach(self) -> None:
        """Leave the ring, from any thread; a waiting ``take`` or ``run`` raises LaneStopped."""
    def __iter__(self) -> Iterator[Slot]:
        """Each slot in turn, released after the loop's body."""

@final
class DigestLane(Lane):
    """Hashes the stream on the thread that calls :meth:`run`, without the GIL where ``native`` is true."""

    def __init__(self, ring: Ring, algorithm: str) -> None:
        """Raises DigestRefused."""
    @property
    def algorithm(self) -> str: ...
    @property
    def native(self) -> bool: ...
    def run(self) -> None: ...
    def hexdigest(self) -> str:
        """Of the whole stream; ValueError before run() has returned."""

@final
class WriteLane(Lane):
    """Writes the stream to ``fd`` at the stream's offsets on the thread that calls :meth:`run`, without the GIL.

    Uses O_DIRECT where the file system takes it and ``direct`` is true, else RWF_DONTCACHE, else buffered writes with paced
    write-back. ``thin`` leaves holes for zero blocks. The file's final size is the stream's.

    ``held``: of what lies below it the file may have the stream's bytes already. Each slot of them is read back and compared, and
    only one that differs is written. Costs the memory of one slot; ``fd`` must be open for reading too.
    """

    def __init__(self, ring: Ring, fd: int, *, thin: bool = ..., direct: bool = ..., held: int = ...) -> None:
        """ValueError for a negative ``held``."""
    @property
    def mode(self) -> str:
        """'direct', 'dontcache' or 'paced': how the last write went."""
    @property
    def kept(self) -> int:
        """Bytes that the file had already and that were not written again."""
    def run(self) -> None:
        """Raises OSError, LaneStopped."""
