"""What has been read of a source, told to the recorder now and then: should the process die, that need not be read again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from glance_stream import threads
from glance_stream.chunker import Ring
from glance_stream.errors import GlanceStreamError
from glance_stream.model import Beginning, Fingerprints
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.transfer.continued import FINGERPRINT_SIZE, is_recognised
from glance_stream.transfer.request import Recorder

LOG = logging.getLogger(__name__)

# The fingerprints are recorded whole each time, 16 bytes a slot: so seldom enough, and the seldomer the more there are.
EVERY_SECONDS = 5.0
GROWTH = 1.05


@asynccontextmanager
async def recorded(
    recorder: Recorder, ring: Ring, source: Source, info: SourceInfo, tell: Callable[[], None]
) -> AsyncIterator[Callable[[], None]]:
    """Gives a ``tell`` that records too, called now and then while the stream is poured. Nothing is recorded afterwards.

    Only of a source over a network that can be recognised later: any other is as soon read again.
    """
    if source.fileno() is not None or not is_recognised(info):
        yield tell
        return
    record = BeginningRecord(recorder, ring, source.name, info)

    def look_and_tell() -> None:
        record.look()
        tell()

    try:
        yield look_and_tell
    finally:
        await threads.to_its_end(record.end())


class BeginningRecord:
    """Never holds up the transfer, nor fails it."""

    def __init__(self, recorder: Recorder, ring: Ring, name: str, info: SourceInfo) -> None:
        self._recorder = recorder
        self._ring = ring
        self._name = name
        self._info = info
        self._recorded = 0  # slots
        self._next = time.monotonic() + EVERY_SECONDS
        self._recording: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Record if it is time to."""
        slots = self._ring.produced // self._ring.slot_size
        due = time.monotonic() >= self._next and slots > 1 and slots >= GROWTH * self._recorded
        if due and (self._recording is None or self._recording.done()):
            self._next = time.monotonic() + EVERY_SECONDS
            self._recorded = slots
            self._recording = asyncio.ensure_future(self._record(slots))

    async def end(self) -> None:
        """Once nothing is being recorded any more."""
        if self._recording is not None:
            await asyncio.wait([self._recording])

    async def _record(self, slots: int) -> None:
        assert self._info.size is not None
        assert self._info.validator is not None
        digests = self._ring.fingerprints()[: slots * FINGERPRINT_SIZE]
        found = Fingerprints(self._ring.slot_size, digests)
        try:
            await self._recorder.read(Beginning(self._name, self._info.size, self._info.validator, found))
        except GlanceStreamError as error:
            LOG.warning("how far the source was read can't be recorded: %s", error)
        except Exception:
            LOG.exception("how far the source was read can't be recorded")
