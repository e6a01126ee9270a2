"""The catalogue's side of a transfer: what is remembered at which moment, and Glance's rules for becoming active."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from glance_stream import threads
from glance_stream.catalogue import Catalogue
from glance_stream.errors import CatalogueError, GlanceStreamError, Leftover, LockLost, RecordInDoubt
from glance_stream.importing.lease import Lease
from glance_stream.model import Beginning, Image, Location
from glance_stream.transfer import Recorder, Transferred, Verified

LOG = logging.getLogger(__name__)

Reasons = dict[str, tuple[str, str]]

UNFINISHED = ("Interrupted", "the operation ended before the store was done")


class CatalogueRecorder(Recorder):
    """Records one operation under its task.

    All must succeed: locations, hashes and status appear together at the end. Best effort: the image shows each location as its
    store has it and is active from the first one on (AC3). A success lets go of the image in the same transaction.

    image: as it was recorded then, if that was heard.
    """

    def __init__(self, catalogue: Catalogue, lease: Lease, *, best_effort: bool, disk_format: bool = False) -> None:
        """``disk_format``: the image has none on record and is given the one that its content was found to be."""
        self._catalogue = catalogue
        self._lease = lease
        self._task = lease.task
        self._best_effort = best_effort
        self._records_format = disk_format
        self._undone = True
        self._left = lease.left
        self._traces: dict[str, str] = {}
        self._pending: set[str] = set()  # stores that have not committed yet
        self._unrecorded: list[Location] = []  # commits that no record was begun of
        self._recording = asyncio.Lock()
        self._adopting: set[str] = set()
        self._shown: list[Location] = []
        self._failures: Reasons = {}
        self._leftovers: list[Leftover] = []
        self.image: Image | None = None

    @asynccontextmanager
    async def operation(self, stores: Sequence[str], *, importing: bool) -> AsyncIterator[None]:
        """From `begin` to the outcome: what is raised in between is recorded as a failure, and stays what is raised."""
        has_begun, self._lease.has_begun = self._lease.has_begun, False
        cancelled = not has_begun and await threads.to_its_end(threads.call(self._begin, stores, importing))
        try:
            if cancelled:
                raise asyncio.CancelledError
            yield
        except BaseException as error:
            if isinstance(error, GlanceStreamError):
                self._leftovers = list(dict.fromkeys([*self._leftovers, *error.leftovers]))
            if not isinstance(error, RecordInDoubt) and (self._shown or self._undone):  # otherwise the rest is for `recover`
                await threads.to_its_end(threads.call(self._record_failure, stores))
            raise

    def _begin(self, stores: Sequence[str], importing: bool) -> None:
        left = self._left
        if not left.traces:
            self._catalogue.begin(self._task, stores, importing=importing)
            return
        self._catalogue.begin_again(
            self._task, stores, importing=importing, failed=left.failed, leftovers=left.leftovers, left=left.traces
        )
        left.claimed = True
        self._undone = False

    async def opened(self, traces: Mapping[str, str]) -> None:
        self._undone = False
        self._adopting -= traces.keys()
        self._traces |= traces
        self._pending, self._unrecorded = set(traces), []
        recorded = self._left.traces.items()  # of what is gone on with
        if anew := {store_id: trace for store_id, trace in traces.items() if (store_id, trace) not in recorded}:
            await threads.call(self._catalogue.opened, self._task, anew)

    async def read(self, beginning: Beginning) -> None:
        await threads.call(self._catalogue.read, self._task, beginning)

    async def adopting(self, store_id: str) -> None:
        await threads.call(self._catalogue.adopting, self._task, store_id, self._traces[store_id])
        self._adopting.add(store_id)

    async def flushed(self, store_id: str) -> None:
        """Recorded with best effort only.

        Some store may have dropped out because an object was there already, and `recover` must not take that one for ours. Where
        all must succeed, nothing is verified unless every store was open and empty, and the journal says no more than it needs.
        """
        if self._best_effort:
            await threads.call(self._catalogue.flushed, self._task, store_id, self._traces[store_id])

    async def verified(self, verified: Verified) -> None:
        await threads.call(
            self._catalogue.verified,
            self._task,
            verified.size,
            verified.checksum,
            verified.os_hash_algo,
            verified.os_hash_value,
            verified.fingerprints,
            virtual_size=verified.virtual_size,
            disk_format=verified.disk_format if self._records_format else None,
        )

    async def committed(self, location: Location) -> None:
        """Where all must succeed, at once too, but in one record with those that came while the last record was made.

        After the last commit the outcome is recorded, which names them all: what is unrecorded until then is what was unrecorded
        in the moment after that commit anyway.
        """
        if self._best_effort:
            await threads.call(self._show, location)
            return
        self._pending.discard(location.store_id)
        if location.store_id not in self._adopting:  # what is in the journal as committed, `recover` deletes
            self._unrecorded.append(location)
        async with self._recording:
            if self._pending and self._unrecorded:
                found, self._unrecorded = self._unrecorded, []
                await threads.call(self._catalogue.committed, self._task, *found)

    def _show(self, location: Location) -> None:
        try:
            self._catalogue.add_location(self._task, location, activate=True)
        except CatalogueError as error:
            if not self._look_up(lambda: self._catalogue.is_shown(self._task, location), error):
                raise
        self._shown.append(location)

    async def undoing(self, location: Location) -> None:
        """Who has lost the image leaves the object to who has it now: what that could not remove it may have adopted."""
        await self._lease.require_for_undo()

    async def finished(self, outcome: Transferred) -> None:
        self._failures = reasons(outcome.failures)
        if outcome.leftovers:  # first: failing after the success was recorded would be too late
            await threads.call(self._catalogue.record_leftovers, self._task.image_id, outcome.leftovers)
        async with self._lease.letting_go():
            self.image = await threads.call(self._succeed, list(outcome.locations.values()))

    def _succeed(self, locations: Sequence[Location]) -> Image | None:
        """The image, unless it could not be heard of that all was recorded."""
        try:
            return self._catalogue.record_success(self._task, locations, self._failures, release=True)
        except CatalogueError as error:
            if not self._look_up(lambda: self._catalogue.was_released(self._task), error):
                raise
            return None

    def _look_up(self, is_recorded: Callable[[], bool], doubt: CatalogueError) -> bool:
        """Whether a record whose answer was an error took effect all the same: a connection may be lost after the commit.

        Raises RecordInDoubt if that can't be told: the catalogue is not there, or somebody else has the image by now. Undoing then
        could remove the data of an active image.
        """
        try:
            return is_recorded()
        except GlanceStreamError as error:
            raise RecordInDoubt(f"{doubt}; whether the image was recorded can't be read either: run 'recover' later") from error

    async def rolled_back(self, failures: Mapping[str, GlanceStreamError], leftovers: Sequence[Leftover]) -> None:
        self._undone = True
        self._failures |= reasons(failures)
        self._leftovers += leftovers

    def _record_failure(self, stores: Sequence[str]) -> None:
        """The operation's end when it failed. What the image was shown active with stays: an active image never goes back."""
        try:
            if self._shown:
                shown = {location.store_id for location in self._shown}
                failed = {store_id: self._failures.get(store_id, UNFINISHED) for store_id in stores if store_id not in shown}
                self._catalogue.record_success(self._task, self._shown, failed)
                self._catalogue.record_leftovers(self._task.image_id, self._leftovers)
            else:
                self._catalogue.record_failure(self._task, self._failures, self._leftovers)
        except LockLost:  # who has it has recorded the outcome; that something is left needs no lock
            self._catalogue.record_leftovers(self._task.image_id, self._leftovers)
        except GlanceStreamError as error:
            LOG.error("the failure can't be recorded; 'recover' will find it: %s", error)


def reasons(failures: Mapping[str, GlanceStreamError]) -> Reasons:
    """The kind and the words of each store's failure."""
    return {store_id: (type(error).__name__, str(error)) for store_id, error in failures.items()}
