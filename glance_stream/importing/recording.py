"""The catalogue's side of a transfer: what is remembered at which moment, and Glance's rules for becoming active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glance_stream import threads
from glance_stream.catalogue import Catalogue, Task
from glance_stream.errors import GlanceStreamError, Leftover
from glance_stream.model import Location
from glance_stream.transfer import Recorder, Transferred, Verified

Reasons = dict[str, tuple[str, str]]


class CatalogueRecorder(Recorder):
    """Records one operation under its task.

    All must succeed: locations, hashes and status appear together at the end. Best effort: the image shows each location as its
    store has it and is active from the first one on (AC3).
    """

    def __init__(self, catalogue: Catalogue, task: Task, *, best_effort: bool) -> None:
        self._catalogue = catalogue
        self._task = task
        self._best_effort = best_effort
        self._undone = True
        self._failures: Reasons = {}
        self._leftovers: list[Leftover] = []

    async def opened(self, store_id: str, trace: str) -> None:
        self._undone = False
        await threads.call(self._catalogue.opened, self._task, store_id, trace)

    async def verified(self, verified: Verified) -> None:
        await threads.call(
            self._catalogue.verified,
            self._task,
            verified.size,
            verified.checksum,
            verified.os_hash_algo,
            verified.os_hash_value,
            verified.fingerprints,
        )

    async def committed(self, location: Location) -> None:
        if self._best_effort:
            await threads.call(self._catalogue.add_location, self._task, location, activate=True)
        else:
            await threads.call(self._catalogue.committed, self._task, location)

    async def finished(self, outcome: Transferred) -> None:
        locations = list(outcome.locations.values())
        await threads.call(self._catalogue.record_success, self._task, locations, reasons(outcome.failures))
        if outcome.leftovers:
            await threads.call(self._catalogue.record_leftovers, self._task.image_id, outcome.leftovers)

    async def rolled_back(self, failures: Mapping[str, GlanceStreamError], leftovers: Sequence[Leftover]) -> None:
        self._undone = True
        self._failures |= reasons(failures)
        self._leftovers += leftovers

    async def record_failure(self) -> None:
        """The operation's end when it failed. Nothing is recorded while something may still be undone: that is for `recover`."""
        if self._undone:
            await threads.call(self._catalogue.record_failure, self._task, self._failures, self._leftovers)


def reasons(failures: Mapping[str, GlanceStreamError]) -> Reasons:
    """The kind and the words of each store's failure."""
    return {store_id: (type(error).__name__, str(error)) for store_id, error in failures.items()}
