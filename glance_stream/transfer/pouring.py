"""The running pass: every job on its thread, and one watcher that notices what fails, hangs or grows too large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from glance_stream import threads
from glance_stream.chunker import LaneStopped, Ring
from glance_stream.errors import GlanceStreamError, LimitExceeded, SourceError
from glance_stream.transfer.intake import Intake
from glance_stream.transfer.request import Limits
from glance_stream.transfer.target import Target
from glance_stream.transfer.targets import Targets

# How often lanes are looked at: progress is shown, a hung store is found, the size limit is enforced.
WATCH_SECONDS = 0.1
# How long stopped jobs may take to notice. They look at every slot, so that it is a write of one slot at most.
STOP_SECONDS = 1.0


class Pouring:
    """One stream on its way through the ring into the stores. ``readers``: what else runs over the ring, blocking."""

    def __init__(self, intake: Intake, ring: Ring, readers: Iterable[Callable[[], None]], targets: Targets, limits: Limits) -> None:
        self._intake = intake
        self._ring = ring
        self._readers = list(readers)
        self._targets = targets
        self._limits = limits
        self._stores: dict[asyncio.Future[None], Target] = {}
        self._others: set[asyncio.Future[None]] = set()

    async def run(self, tell: Callable[[], None]) -> None:
        """Until every job has ended well. Raises what a job raised, ImportFailed, LimitExceeded, SourceError."""
        for target in self._targets.live:
            try:
                target.attach(self._ring)
            except Exception as error:
                await self._targets.drop(target, error)
        jobs = self._intake.jobs + self._readers
        self._others = {asyncio.ensure_future(threads.call(job)) for job in jobs}
        self._stores = {asyncio.ensure_future(target.drain()): target for target in self._targets.live}
        patience = _Patience(self._limits.source_timeout)
        while running := self._others | self._stores.keys():
            done, _ = await asyncio.wait(running, timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            await self._reap(done)
            await self._drop_stuck()
            self._check_size()
            patience.check(
                self._intake.read + self._ring.produced,
                held_up=self._ring.finished or any(target.behind for target in self._targets.live),
            )
            tell()

    async def stop(self) -> None:
        """End everything soon; what does not end is abandoned to its thread."""
        self._intake.stop()
        for target in self._targets.all:
            target.detach()
        if not self._others:
            self._intake.close()  # nothing reads, so that nothing else will
        running = self._others | self._stores.keys()
        for future in running:
            threads.abandon(future)
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)

    async def _reap(self, done: set[asyncio.Future[None]]) -> None:
        """Take finished jobs off the list. A failure of the stream comes before what it does to the stores."""
        for future in done & self._others:
            self._others.remove(future)
            future.result()
        for future in done & self._stores.keys():
            await self._reap_store(future, self._stores.pop(future))

    async def _reap_store(self, future: asyncio.Future[None], target: Target) -> None:
        error = future.exception()
        if isinstance(error, LaneStopped) and not target.live:
            return  # given up before, and now its thread has noticed
        if isinstance(error, Exception):
            await self._targets.drop(target, error)
        elif error is not None:
            raise error

    async def _drop_stuck(self) -> None:
        for future, target in list(self._stores.items()):
            try:
                target.check_stuck()
            except GlanceStreamError as error:
                threads.abandon(future)
                del self._stores[future]
                await self._targets.drop(target, error)

    def _check_size(self) -> None:
        limit = self._limits.decode.max_size
        if self._ring.produced > limit:
            raise LimitExceeded(f"the image is larger than the limit of {limit} bytes")


class _Patience:
    """How long the source may say nothing while no store holds it up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen = -1
        self._since = time.monotonic()

    def check(self, moved: int, *, held_up: bool) -> None:
        """``moved``: bytes read and bytes decoded, for a few bytes read may take long to decode. Raises SourceError."""
        if moved != self._seen or held_up:
            self._seen, self._since = moved, time.monotonic()
        elif time.monotonic() - self._since > self._seconds:
            raise SourceError(f"nothing came from the source for {self._seconds:g} s")
