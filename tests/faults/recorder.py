"""A recorder that remembers what it is told, and goes wrong at named steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faults.fault import Fault
from glance_stream.errors import GlanceStreamError, Leftover
from glance_stream.model import Location
from glance_stream.transfer import Recorder, Transferred, Verified


class FaultyRecorder(Recorder):
    """``script``: 'opened', 'adopting', 'flushed', 'verified', 'committed', 'finished', 'rolled_back' -> what happens there.

    'opened:s1', 'flushed:s1', 'committed:s1' for one store.
    Whatever happens there, it happens before the call is remembered.
    """

    def __init__(self, script: Mapping[str, Fault] | None = None) -> None:
        self.script = dict(script or {})
        self.events: list[str] = []
        self.traces: dict[str, str] = {}
        self.locations: dict[str, Location] = {}
        self.failures: dict[str, GlanceStreamError] = {}
        self.leftovers: tuple[Leftover, ...] = ()

    async def _strike(self, *steps: str) -> None:
        for step in steps:
            if step in self.script:
                await self.script[step].strike()
        self.events.append(steps[0])

    async def opened(self, traces: Mapping[str, str]) -> None:
        for store_id, trace in traces.items():
            await self._strike("opened", f"opened:{store_id}")
            self.traces[store_id] = trace

    async def adopting(self, store_id: str) -> None:
        await self._strike("adopting", f"adopting:{store_id}")

    async def flushed(self, store_id: str) -> None:
        await self._strike("flushed", f"flushed:{store_id}")

    async def verified(self, verified: Verified) -> None:
        await self._strike("verified")

    async def committed(self, location: Location) -> None:
        await self._strike("committed", f"committed:{location.store_id}")
        self.locations[location.store_id] = location

    async def finished(self, outcome: Transferred) -> None:
        await self._strike("finished")

    async def rolled_back(self, failures: Mapping[str, GlanceStreamError], leftovers: Sequence[Leftover]) -> None:
        await self._strike("rolled_back")
        self.failures = dict(failures)
        self.leftovers = tuple(leftovers)
