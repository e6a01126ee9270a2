"""What a store is: the contract that every store type keeps and the conformance suite checks.

The life of a write::

    writer = store.writer(image_id)                         # no I/O; writer.trace is known, and recorded before the next line
    await writer.open(size_hint)                            # nothing visible; Duplicate if the image is already there
    lane = writer.attach(ring); writer.drain(lane)          # or writer.write(view) again and again
    await writer.flush(size)                                # phase 1: everything durable, still invisible
    location = await writer.commit(size, digests)           # phase 2: visible, all at once; ends the writer even on error
    await writer.abort()                                    # instead of, or after, any of the above: removes every trace

The life of a write whose process died may go on in another one, where the store is ``resumable``::

    writer = store.resume(image_id, trace)                  # instead of `writer`: with the dead writer's trace
    await writer.open(size_hint)                            # NotFound: nothing that can be used is there
    ...                                                     # the whole stream, from its first byte on

What it holds is not trusted: it is compared with the stream, and only what differs is written. So the bytes are the stream's
whatever was there, and ``kept`` says how many of them did not have to be written again.

Whatever happens to the process, and whichever call never returns: what a writer leaves behind has the name that was recorded
before the store was touched, and ``store.discard(trace)`` removes it.

Nothing is visible under the image's name before ``commit``. Coroutines run on the event loop and must not block it; ``drain``
and ``write`` run on the lane's own thread and may block.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from glance_stream.chunker import Lane, Ring
from glance_stream.errors import GlanceStreamError, InvalidRequest, StoreError
from glance_stream.model import Location
from glance_stream.sources.base import Source

# A name that can't lead out of the place where a store keeps its images, and that doesn't look like a hidden file.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True)
class Traits:
    """What stores differ in, as data.

    read_only: no image can be written or deleted here.
    needs_size: a writer can't be opened without a size hint.
    thin: zero runs can be left out of what is stored.
    marked: an object tells which writer made it, also to another process (`Store.published`).
    resumable: what a dead writer has left can be gone on with (`Store.resume`).
    rereadable: and it can be read (`Store.open_left`).
    atomic_commit: nothing can be seen under the image's name before the commit. Where it is false (a foreign driver that writes
        in place) what is seen is not complete until then.
    """

    read_only: bool = False
    needs_size: bool = False
    thin: bool = False
    marked: bool = False
    resumable: bool = False
    rereadable: bool = False
    atomic_commit: bool = True


@dataclass(frozen=True)
class ObjectStat:
    """What a store says of an object without reading it. Size in bytes."""

    size: int


@dataclass(frozen=True)
class Stray:
    """What a writer of ours has in a store and has not committed: of a transfer that runs, or of one that died.

    ``trace`` is fit for `Store.discard`. ``age``: seconds since it last changed, as far as the store tells. ``size``: bytes that it
    takes up, None where the store does not tell.
    """

    trace: str
    image_id: str
    age: float
    size: int | None = None


class Writer(ABC):
    """One image on its way into one store.

    ``trace`` names what this writer may leave behind if the process dies: `Store.discard(trace)` removes it. It is known from the
    beginning and never changes, holds no credential, and is recorded before `open` by whoever must be able to recover.
    """

    trace: str

    @property
    def kept(self) -> int:
        """Bytes that a resumed writer has found there already and has not written again."""
        return 0

    @abstractmethod
    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        """Create what is written to, once. Raises Duplicate, StoreFull, StoreDenied, StoreUnavailable.

        After one that failed or was cancelled, `abort` removes every trace.
        """

    def attach(self, ring: Ring) -> Lane:
        """The lane that feeds this writer. A store with a native write path returns its own kind of lane."""
        return ring.lane()

    def drain(self, lane: Lane) -> None:
        """Write the whole stream from the lane. Raises StoreError; LaneStopped when the stream is not complete."""
        for slot in lane:
            with slot.view as view:  # released also when write raises, whose traceback would hold the slot
                self.write(view)

    @abstractmethod
    def write(self, view: memoryview) -> None:
        """Write all of ``view`` after what was written before, or raise StoreError. Keeps no reference after it returns."""

    @abstractmethod
    async def flush(self, size: int) -> None:
        """Make ``size`` bytes durable, still invisible. Raises StoreError, also when it holds another size than this."""

    @abstractmethod
    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        """Make the flushed image visible. Ends the writer whatever happens.

        Raises Duplicate if the name was taken meanwhile, StoreError if ``size`` is not what was flushed.
        """

    @abstractmethod
    async def published(self) -> Location | None:
        """Asked after a commit that did not return and an `abort`: the object that this writer has made visible all the same.

        None if it certainly made none. An object of another's under the image's name is never named, whatever its size or content:
        whoever asks is going to delete. Raises StoreError where it can't be told now; a request that was sent and never answered
        may still take effect, so that 'not there' is no answer then.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Remove every trace of this writer, but never a committed object. Any state, any number of times. Raises StoreError.

        Before `open` too: nothing comes of the writer any more, and there is nothing to remove unless it was to be resumed.
        """


class Store(ABC):
    """A place that keeps whole images, each under its image id."""

    type: ClassVar[str]
    store_id: str
    traits: Traits

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the store keeps its images, fit to show: no credentials."""

    async def open(self) -> None:
        """Connect and check the store, once; later calls return at once. Other methods call it themselves. Raises StoreError."""

    async def is_there(self) -> bool:
        """False where the place that keeps the images is missing and a writer would make it. Raises StoreError."""
        return True

    def expect(self, images: int) -> None:
        """So many images are recorded here: if there are any, a place that is missing is lost and not new, and is not made."""

    async def free_space(self) -> int | None:
        """Bytes that can still be written here, as far as the store tells; None where it does not. Raises StoreError."""
        return None

    @abstractmethod
    def writer(self, image_id: str) -> Writer:
        """A writer that is not open yet: no I/O. Raises StoreReadOnly; InvalidRequest for an unsafe image id."""

    def resume(self, image_id: str, trace: str) -> Writer:
        """A writer that goes on with what the writer of this trace has left, whose process has ended for good: no I/O.

        Its opening raises NotFound where nothing usable is left; an abort then removes what is there all the same. Raises
        StoreError where the store is not `Traits.resumable` and for what is not a trace of this store and image.
        """
        raise StoreError(self.store_id, f"a store of type {self.type!r} can't go on with what another process has left")

    def open_left(self, trace: str) -> Source:
        """What a dead writer has left, as a source: not opened yet, and with no promise of what it holds. Raises StoreError."""
        raise StoreError(self.store_id, f"what a writer has left in a store of type {self.type!r} can't be read")

    async def open_writer(self, image_id: str, size_hint: int | None, *, thin: bool = False) -> Writer:
        """`writer` and `Writer.open` in one, for those who record no traces. Raises what they raise, with nothing left behind."""
        writer = self.writer(image_id)
        try:
            await writer.open(size_hint, thin=thin)
        except BaseException:
            with suppress(GlanceStreamError):  # what kept it from opening is what is told
                await writer.abort()
            raise
        return writer

    @abstractmethod
    def open_reader(self, location: Location) -> Source:
        """A source of the object's bytes; not opened yet, so nothing is checked here but the location's form."""

    @abstractmethod
    async def stat(self, location: Location) -> ObjectStat:
        """Raises NotFound, StoreError."""

    @abstractmethod
    async def delete(self, location: Location) -> None:
        """Remove the object and nothing else. Raises NotFound if it is gone already, ObjectBusy, StoreReadOnly, StoreDenied."""

    @abstractmethod
    async def discard(self, trace: str) -> None:
        """Remove what the writer with this trace left behind; nothing there is fine. Never a committed object.

        Raises StoreError, also for what is not a trace of this store.
        """

    async def published(self, trace: str) -> Location | None:
        """`Writer.published` for whoever has the writer's trace and no more, such as another process after a crash.

        Raises StoreError where objects do not tell which writer made them (`Traits.marked`), and where it can't be told now.
        """
        raise StoreError(self.store_id, f"objects of a store of type {self.type!r} do not tell which writer made them")

    @abstractmethod
    async def strays(self) -> list[Stray]:
        """All that writers of ours have here and have not committed, and nothing of anybody else's. Raises StoreError."""

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        """Discard the strays that have not changed for ``older_than`` seconds, but for those whose traces are to be spared.

        Returns what was removed. Raises StoreError at the first that can't be; those before it are gone.
        """
        swept = []
        for stray in await self.strays():
            if stray.age >= older_than and stray.trace not in spare:
                await self.discard(stray.trace)
                swept.append(stray)
        return swept

    @abstractmethod
    async def find(self, image_id: str) -> Location | None:
        """Where this store has an object under the image's name, whoever wrote it; None if it has none."""

    async def make_durable(self, location: Location) -> None:
        """See to it that an object that another has written survives a power failure. Raises NotFound, StoreError.

        Most stores have that done before they tell anybody of an object.
        """

    async def places(self) -> frozenset[str]:
        """Two stores with one of these in common would meet in every image's name. Raises StoreError where it can't be told."""
        return frozenset({f"{self.type} {self.where}"})

    @abstractmethod
    def owns(self, url: str) -> bool:
        """Whether a location URL points into this store, decided on whole path components (bug 1886374)."""

    async def close(self) -> None:
        """Let connections go. May be called twice."""


def require_safe_name(image_id: str) -> None:
    """Raises InvalidRequest for an image id that is not fit to be an object's name."""
    if not SAFE_NAME.fullmatch(image_id):
        raise InvalidRequest(f"{image_id!r} can't be the name of an object in a store")
