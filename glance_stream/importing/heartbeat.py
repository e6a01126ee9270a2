"""How far an operation is, told to the catalogue while it runs (Glance: ``task.message = 'Copied N MiB'``)."""

from __future__ import annotations

import time

from glance_stream import threads
from glance_stream.catalogue import Catalogue, Task
from glance_stream.transfer import Observer, Progress

# Often enough for who looks at 'show', seldom enough to cost the catalogue nothing.
BEAT_SECONDS = 5.0


class Heartbeat:
    """An observer that passes on what it is told and records it now and then, without ever holding up the transfer."""

    def __init__(self, catalogue: Catalogue, task: Task, observer: Observer | None) -> None:
        self._catalogue = catalogue
        self._task = task
        self._observer = observer
        self._next = time.monotonic() + BEAT_SECONDS

    def __call__(self, progress: Progress) -> None:
        if self._observer is not None:
            self._observer(progress)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BEAT_SECONDS
        message = f"{progress.phase}, {progress.produced >> 20} MiB"
        # A beat that fails costs a message: whether the lock is still held is asked by every record of the operation.
        threads.THREADS.submit(self._catalogue.renew, self._task, message)
