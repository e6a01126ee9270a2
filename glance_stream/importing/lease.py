"""The hold of one operation on its image: renewed while the operation makes progress, and the operation ended when it is lost.

A task of its own renews the lease, whatever the operation waits for. Renewed is what is left of it since the last progress (bytes,
or a new phase): a process that lives and does nothing loses its image too, as a silent one does. It does not end itself for that:
while nobody wants the image, there is no harm in waiting.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from glance_stream import threads
from glance_stream.catalogue import Catalogue, Lock, Task
from glance_stream.errors import CatalogueError, CatalogueUnavailable, GlanceStreamError, ImageNotFound, LockLost
from glance_stream.importing.left import Left
from glance_stream.transfer import Observer, Progress

LOG = logging.getLogger(__name__)

# Often enough for who looks at 'show', seldom enough to cost the catalogue nothing.
RENEWAL_SECONDS = 5.0
RENEWALS_PER_LEASE = 4
UNDO_PATIENCE_SECONDS = 5.0  # less than a step of a rollback has
ROLLING_BACK = "rolling back"


class Lease:
    """An image held by ``task``. ``notes``: what had to be done to get it. ``left``: what came with it, to be gone on with."""

    def __init__(self, catalogue: Catalogue, task: Task) -> None:
        self.task = task
        self.notes: tuple[str, ...] = ()
        self.left = Left()
        self._catalogue = catalogue
        self._progress: Progress | None = None
        self._phase = ""
        self._moved_at = self._renewed_at = time.monotonic()
        self._held_until = self._renewed_at + catalogue.lease
        self._lost: LockLost | None = None
        self._letting_go = asyncio.Lock()
        self.has_begun = False  # with the lock, and whoever held it has not taken on the outcome yet
        self.is_released = False  # with the operation's outcome
        self._has_warned = False
        self._cancelled = False  # the operation, because the lease was lost

    def enter(self, phase: str) -> None:
        """What the operation does now, for one that has no bytes to count."""
        self._phase, self._progress = phase, None
        self._moved_at = time.monotonic()

    def advance(self, progress: Progress) -> None:
        """How far the operation is."""
        last = self._progress
        if last is None or _position(progress) != _position(last):
            self._moved_at = time.monotonic()
        self._phase, self._progress = progress.phase, progress

    def observer(self, also: Observer | None = None) -> Observer:
        """`advance`, after telling another."""

        def observe(progress: Progress) -> None:
            self.advance(progress)
            if also is not None:
                also(progress)

        return observe

    async def require(self) -> None:
        """Raises LockLost unless the image is held now. Before a deletion, which no record goes before."""
        await threads.call(self._catalogue.require, self.task)

    async def require_for_undo(self) -> None:
        """As `require`, for deleting what this operation has made, which does not wait for a catalogue that is away for long.

        Nobody takes an image before its lease has ended, and of an image whose record is deleted there is nothing to spare.
        """
        try:
            async with asyncio.timeout(UNDO_PATIENCE_SECONDS):
                await threads.call(self._require_or_deleted)
        except (CatalogueError, TimeoutError) as error:
            if time.monotonic() >= self._held_until:
                raise LockLost(
                    f"image {self.task.image_id}: it may be another's by now, and the catalogue does not tell: {error}"
                ) from error

    def _require_or_deleted(self) -> None:
        try:
            self._catalogue.require(self.task)
        except LockLost:
            with suppress(ImageNotFound):
                self._catalogue.get_image(self.task.image_id)
                raise

    @asynccontextmanager
    async def letting_go(self) -> AsyncIterator[None]:
        """Around a record that releases the image: when the block ends well, there is nothing more to renew or to release."""
        async with self._letting_go:
            yield
            self.is_released = True

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew until the end of the block. When the lease is lost, the block is cancelled, and LockLost raised in its place."""
        operation = asyncio.current_task()
        assert operation is not None
        before = operation.cancelling()
        renewing = asyncio.ensure_future(self._keep(operation))
        try:
            yield
            if self._cancelled:  # too late for it
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                if operation.uncancel() > before:
                    raise asyncio.CancelledError
        except asyncio.CancelledError as cancelled:
            if self._lost is None or not self._cancelled or operation.uncancel() > before:
                raise
            raise self._lost from cancelled
        except BaseException:
            if self._cancelled:
                operation.uncancel()
            raise
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _keep(self, operation: asyncio.Task[Any]) -> None:
        while self._lost is None:
            await asyncio.sleep(min(RENEWAL_SECONDS, self._catalogue.lease / RENEWALS_PER_LEASE))
            lost = await self._renew()
            if lost is not None:
                async with self._letting_go:  # it may be that record which the renewal has met
                    if self.is_released:
                        return
            self._lost = lost
        LOG.info("%s", self._lost)  # it is raised, or the next record of the operation fails for it
        if self._phase != ROLLING_BACK:  # a cancellation would only hurry that
            self._cancelled = True
            operation.cancel()

    async def _renew(self) -> LockLost | None:
        """Why it is lost, if it is."""
        now = time.monotonic()
        left = self._renewed_at + self._catalogue.lease - now
        try:
            async with asyncio.timeout(max(left, 0.0)):
                idle = min(now - self._moved_at, self._catalogue.lease)
                await threads.call(self._catalogue.renew, self.task, self.message, self.progress, idle=idle)
        except LockLost as error:
            return error
        except (CatalogueError, TimeoutError) as error:
            if now < self._renewed_at + self._catalogue.lease and not isinstance(error, TimeoutError):
                level = logging.INFO if self._has_warned else logging.WARNING
                LOG.log(level, "image %s: the lock could not be renewed, and is tried again: %s", self.task.image_id, error)
                self._has_warned = True
                return None
            return LockLost(
                f"image {self.task.image_id}: the lock could not be renewed for {self._catalogue.lease:g} s, so that it may be "
                f"another's by now: {str(error) or 'this process stood still, or the catalogue does not answer'}"
            )
        self._has_warned = False
        self._renewed_at, self._held_until = now, now + self._catalogue.lease - idle
        return None

    @property
    def message(self) -> str:
        """As 'transferring, 12 MiB of 40 MiB (30%)'."""
        progress = self._progress
        if progress is None:
            return self._phase
        if not progress.total:
            return f"{progress.phase}, {progress.produced >> 20} MiB"
        part = f"{progress.read >> 20} MiB of {progress.total >> 20} MiB ({100 * progress.read // progress.total}%)"
        return f"{progress.phase}, {part}"

    @property
    def progress(self) -> dict[str, Any]:
        """For programs. Bytes; ``total`` and ``read`` are of the source, the rest of the image, by store at last."""
        progress = self._progress
        if progress is None:
            return {"phase": self._phase}
        return {
            "phase": progress.phase,
            "read": progress.read,
            "total": progress.total,
            "produced": progress.produced,
            "stores": dict(progress.stores),
            "kept": dict(progress.kept),
        }


@asynccontextmanager
async def hold(catalogue: Catalogue, take: Callable[[], Lock], *, has_begun: bool = False) -> AsyncIterator[Lease]:
    """Hold the image that ``take`` gives the lock of; renewed until the block ends, and then released.

    ``has_begun``: ``take`` has begun the operation too; where nobody takes that on, it ends with the block, as if it had not.
    An operation without a recorded outcome keeps it, for `recover`. Raises what ``take`` raises; LockLost.
    """
    taking = asyncio.ensure_future(threads.call(take))
    cancelled = await threads.to_its_end(taking)
    lease = Lease(catalogue, taking.result().task)
    lease.has_begun = has_begun
    try:
        if cancelled:
            raise asyncio.CancelledError
        async with lease.kept():
            yield lease
    finally:
        is_failing = isinstance(sys.exception(), GlanceStreamError)
        try:
            if not lease.is_released:
                await threads.to_its_end(threads.call(_release, catalogue, lease))
        except CatalogueUnavailable as error:  # what fails for its sake tells of it
            LOG.log(logging.INFO if is_failing else logging.ERROR, "image %s stays locked: %s", lease.task.image_id, error)
        except GlanceStreamError as error:
            LOG.error("%s", error)


def _release(catalogue: Catalogue, lease: Lease) -> None:
    if lease.has_begun:
        catalogue.record_failure(lease.task, {})
    catalogue.release(lease.task)


def _position(progress: Progress) -> tuple[object, ...]:
    return progress.phase, progress.read, progress.produced, tuple(sorted(progress.stores.items()))
