"""What a transfer is asked to do, what it tells while it runs, and what it gives back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from glance_stream.chunker import DEFAULT_SLOT_SIZE, DEFAULT_SLOTS, require_digest
from glance_stream.decode.base import DecodeLimits
from glance_stream.errors import GlanceStreamError, InvalidRequest, Leftover
from glance_stream.inspection import Inspection
from glance_stream.model import DEFAULT_HASH_ALGO, Beginning, Fingerprints, Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import Store


@dataclass(frozen=True)
class Expectation:
    """A digest that the bytes must have. Capitals make no difference."""

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", self.algorithm.lower())
        object.__setattr__(self, "value", self.value.lower())

    @classmethod
    def parse(cls, text: str) -> Expectation:
        """From ``ALGO:HEX``. Raises InvalidRequest."""
        algorithm, colon, value = text.partition(":")
        if not colon or not algorithm or not re.fullmatch(r"([0-9A-Fa-f]{2})+", value):
            raise InvalidRequest(f"{text!r} is not of the form ALGO:HEX, such as sha256:9f86d081884c7d65...")
        return cls(algorithm, value)

    def check(self) -> None:
        """Raises InvalidRequest for an algorithm that can't be computed here, or a value that it never gives."""
        try:
            require_digest(self.algorithm)
            digits = 2 * hashlib.new(self.algorithm).digest_size
        except ValueError as error:
            raise InvalidRequest(f"hash algorithm: {error}") from error
        if len(self.value) != digits:
            raise InvalidRequest(f"{self.algorithm} has {digits} hexadecimal digits, {self.value!r} has {len(self.value)}")


@dataclass(frozen=True)
class Limits:
    """Memory, time and size that one transfer may take. Times in seconds, sizes in bytes.

    store_timeout: one call to a store, or the writing of one slot, after which the store counts as hung. Generous, because a
    loaded Ceph or NFS may stall for minutes and come back.
    source_timeout: no byte from the source for this long while no store holds it up. An hour, for a pipe whose writer thinks.
    undo_timeout: one step of a rollback; short, since a store that hangs then usually hangs for good.
    """

    slots: int = DEFAULT_SLOTS
    slot_size: int = DEFAULT_SLOT_SIZE
    store_timeout: float = 300.0
    source_timeout: float = 3600.0
    undo_timeout: float = 30.0
    decode: DecodeLimits = field(default_factory=DecodeLimits)


@dataclass(frozen=True)
class TransferRequest:
    """One image from one source into one or more stores.

    decompress: 'auto', 'never', or the name of a format. expected / expected_compressed: digests of the stored bytes / of the
    bytes as the source gives them. expected_size: of the stored bytes. best_effort: go on without the stores that fail, as
    long as one is left (Glance's ``all_stores_must_succeed=False``). thin: leave holes for zeros where the store can.
    resume: store id -> trace of a writer of this image whose process has ended for good, to be gone on with where that can be done.
    It is recorded already by whoever asks; what it left is the transfer's now, and removed if that fails.
    beginning: what that transfer had read of its source, which is not read again where one of these stores has it.
    inspection: what the content has to be; None: it is not looked into, as with a copy of what was.
    """

    image_id: str
    source: Source
    stores: Sequence[Store]
    hash_algo: str = DEFAULT_HASH_ALGO
    md5: bool = False
    decompress: str = "auto"
    expected: Sequence[Expectation] = ()
    expected_compressed: Sequence[Expectation] = ()
    expected_size: int | None = None
    best_effort: bool = False
    thin: bool = False
    inspection: Inspection | None = None
    resume: Mapping[str, str] = field(default_factory=dict)
    beginning: Beginning | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Verified:
    """The stream, whole and checked. ``checksum`` is the md5, or None when it was not asked for or is refused here (FIPS).

    virtual_size / disk_format: of an inspected stream, see :class:`glance_stream.inspection.Finding`.
    """

    size: int
    os_hash_algo: str
    os_hash_value: str
    checksum: str | None
    digests: Mapping[str, str]
    fingerprints: Fingerprints
    decompressed: str | None
    virtual_size: int | None = None
    disk_format: str | None = None


@dataclass(frozen=True)
class Transferred:
    """The outcome: at least one location; ``failures`` only with best effort. ``leftovers`` are of stores that failed.

    ``kept``: of the stores where an interrupted transfer was gone on with, the bytes that were there already.
    ``spared``: bytes that therefore did not have to be read from the source again.
    ``adopted``: the stores that had the image already, under its name and unrecorded; nothing was written there.
    """

    verified: Verified
    locations: Mapping[str, Location]
    failures: Mapping[str, GlanceStreamError]
    leftovers: tuple[Leftover, ...] = ()
    adopted: tuple[str, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    spared: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying of a success, for whoever reads it."""
        decompressed = (f"decompressed from {self.verified.decompressed}",) if self.verified.decompressed else ()
        adopted = tuple(f"{store_id}: was there already, identical: adopted" for store_id in self.adopted)
        size = self.verified.size
        continued = tuple(
            f"{store_id}: continued an interrupted transfer, {kept} of {size} bytes were there already"
            if kept
            else f"{store_id}: an interrupted transfer had left nothing of this content: all was written anew"
            for store_id, kept in self.kept.items()
        )
        spared = (f"{self.spared} of {size} bytes did not have to be read from the source again",) if self.spared else ()
        return decompressed + adopted + continued + spared


@dataclass(frozen=True)
class Progress:
    """A moment of a running transfer. Bytes. ``total`` is what the source says it has, in the same measure as ``read``.

    ``kept``: of what ``stores`` have, by store, what an interrupted transfer had left there; none without one that is gone on with.
    """

    phase: str
    read: int
    total: int | None
    produced: int
    stores: Mapping[str, int]
    kept: Mapping[str, int] = field(default_factory=dict)


# One that raises is told nothing more: what only watches can't stop a transfer.
Observer = Callable[[Progress], None]


class Recorder:
    """Where a transfer tells what must be remembered, at the moment it must be. This one remembers nothing.

    Every method but ``rolled_back`` is part of the transaction: raising rolls the transfer back. With best effort a location stays
    from the moment that ``committed`` has returned; raising there undoes that store only. Raising RecordInDoubt undoes nothing: it
    says that the record may have taken effect, and that the recorder's own recovery will settle it.

    No call is given up half-way, whatever is cancelled meanwhile, because nobody could tell then whether the record was made: a
    call has to come to an end by itself.
    """

    async def opened(self, traces: Mapping[str, str]) -> None:
        """Each of these stores may from now on hold something of ours, to be removed by ``Store.discard(trace)``.

        Once, before the first store is touched: raising here leaves nothing anywhere.
        """

    async def read(self, beginning: Beginning) -> None:
        """So much of the source has been read, now and then. No part of the transaction: raising is logged."""

    async def adopting(self, store_id: str) -> None:
        """An object that is not ours is in the store under the image's name: it is compared with the stream and never deleted.

        What may be left of our writer there has been removed. After `opened` and before `committed` of that store.
        """

    async def flushed(self, store_id: str) -> None:
        """A store holds the whole stream, durable and still invisible. Before `verified`; no other store is asked to commit."""

    async def verified(self, verified: Verified) -> None:
        """The whole stream was read, checked and flushed; nothing is visible yet. Before the first commit."""

    async def committed(self, location: Location) -> None:
        """A store holds the image under its final name."""

    async def undoing(self, location: Location) -> None:
        """An object that this transfer has made is about to be deleted again. Raising keeps it; it is a leftover then.

        Where a commit hung, this may be asked long after the transfer has ended.
        """

    async def finished(self, outcome: Transferred) -> None:
        """All is done; the last chance to refuse. A cancellation that comes now comes too late."""

    async def rolled_back(self, failures: Mapping[str, GlanceStreamError], leftovers: Sequence[Leftover]) -> None:
        """Everything was undone, but for the leftovers. Raising replaces nothing: the first cause is reported.

        Not called when a location stays (best effort), since then not everything is as it was before.
        """
