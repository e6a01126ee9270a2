"""The transaction: one pass from a source into several stores, all or nothing (or as many as can, with best effort).

In order: open the source, look at its first bytes, record what the stores may come to hold, open every store, pour the stream
through the ring, check size and digests, flush each store, commit each store, record. Any failure before the end, a cancellation
included, undoes everything, the newest step of a store first.

With best effort each store is a transaction of its own from its commit on: once the recorder has a location, that location stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import AsyncExitStack

from glance_stream import threads
from glance_stream.chunker import DigestLane, DigestRefused, Ring, require_digest
from glance_stream.decode import SNIFF_SIZE, choose, sniff
from glance_stream.errors import (
    DigestMismatch,
    Duplicate,
    EmptyImage,
    GlanceStreamError,
    InvalidRequest,
    LimitExceeded,
    RecordInDoubt,
    StoreUnavailable,
)
from glance_stream.model import Fingerprints
from glance_stream.rollback import Rollback
from glance_stream.sources.base import SourceInfo
from glance_stream.transfer.beginning import recorded
from glance_stream.transfer.continued import ContinuedSource, continue_source
from glance_stream.transfer.faster import adopt_faster
from glance_stream.transfer.inspecting import InspectionLane
from glance_stream.transfer.intake import Intake, open_source
from glance_stream.transfer.pouring import Pouring
from glance_stream.transfer.request import Expectation, Observer, Progress, Recorder, Transferred, TransferRequest, Verified
from glance_stream.transfer.target import Target
from glance_stream.transfer.targets import Targets

LOG = logging.getLogger(__name__)


async def transfer(request: TransferRequest, recorder: Recorder | None = None, observer: Observer | None = None) -> Transferred:
    """Carry out the request; returns only when at least one store has committed and the recorder has remembered it.

    Raises InvalidRequest before anything was touched; SourceError, DecodeError, FormatRejected, LimitExceeded, EmptyImage,
    DigestMismatch, ImportFailed (with the reason of each failed store) or asyncio.CancelledError after everything was undone.
    What could not be undone is in the error's ``leftovers`` and was told to the recorder.
    """
    return await _Transfer(request, recorder or Recorder(), observer).run()


class _Transfer:
    def __init__(self, request: TransferRequest, recorder: Recorder, observer: Observer | None) -> None:
        _check(request)
        self._request = request
        self._recorder = recorder
        self._observer = observer
        self._limits = request.limits
        self._rollback = Rollback(self._limits.undo_timeout)
        targets = [Target(store, self._rollback, self._limits) for store in request.stores]
        self._targets = Targets(targets, request.best_effort)
        self._ring = Ring(self._limits.slots, self._limits.slot_size)
        self._digests: dict[str, DigestLane] = {}
        self._inspection: InspectionLane | None = None
        self._source = request.source
        self._info = SourceInfo()
        self._format: str | None = None
        self._intake: Intake | None = None
        self._pouring: Pouring | None = None
        self._phase = "opening"
        self._kept: list[Target] = []  # best effort: recorded one by one, and not undone any more

    async def run(self) -> Transferred:
        try:
            for target in self._targets.all:
                if trace := self._request.resume.get(target.store_id):
                    target.take_over(trace)
            self._source = continue_source(self._request)
            await self._open()
            await self._pour()
            verified = self._verify()
            return await self._settle(verified)
        except BaseException as cause:
            await threads.to_its_end(self._undo(cause), self._rollback.hurry)  # cancelled again, it is not left half done
            raise

    # -- opening ----------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        request, limits = self._request, self._limits.decode
        self._info, head = await open_source(
            self._source, 0 if request.decompress == "never" else SNIFF_SIZE, self._limits.source_timeout
        )
        self._intake = Intake(self._source, self._info, head, self._ring)
        self._format = self._choose_format(head)
        if self._format is not None:
            self._intake.decode(self._format, limits, {expected.algorithm for expected in request.expected_compressed})
        self._add_digests()
        if request.inspection is not None:
            self._inspection = InspectionLane(self._ring, request.inspection)
        size_hint = None if self._format else self._info.size
        if size_hint is not None and size_hint > limits.max_size:
            raise LimitExceeded(f"the image has {size_hint} bytes, the limit is {limits.max_size}")
        await self._open_stores(size_hint)

    def _choose_format(self, head: bytes) -> str | None:
        if self._request.decompress == "auto" and (resembled := sniff(head).resembles):
            LOG.warning(
                "%s begins like %s but is not: taken as it is; --decompress=%s insists, --decompress=never silences this",
                self._request.source.name,
                resembled,
                resembled,
            )
        return choose(self._request.decompress, head)

    def _add_digests(self) -> None:
        request = self._request
        names = [request.hash_algo.lower(), *(expected.algorithm for expected in request.expected)]
        if self._format is None:  # the source's bytes are the image's
            names += [expected.algorithm for expected in request.expected_compressed]
        self._digests = {name: DigestLane(self._ring, name) for name in dict.fromkeys(names)}
        if request.md5 and "md5" not in self._digests:
            try:
                self._digests["md5"] = DigestLane(self._ring, "md5")
            except DigestRefused:
                LOG.warning("md5 is refused on this system (FIPS): the image's checksum stays empty")

    async def _open_stores(self, size_hint: int | None) -> None:
        """Every trace is recorded before the first store is touched."""
        request = self._request
        await self._targets.each(lambda target: target.prepare(request.image_id, size_hint, request.thin))
        await self._record(self._recorder.opened({target.store_id: target.writer.trace for target in self._targets.live}))
        await self._targets.each(lambda target: self._open_target(target, size_hint), self._opened)

    async def _open_target(self, target: Target, size_hint: int | None) -> None:
        request = self._request
        try:
            await target.open(size_hint, request.thin)
        except Duplicate as taken:
            size = size_hint if request.expected_size is None else request.expected_size
            await target.compare(taken, size, forgiving=bool(request.expected or request.expected_compressed))

    async def _opened(self, target: Target) -> None:
        if target.adopting:
            await self._record(self._recorder.adopting(target.store_id))

    # -- pouring and checking -----------------------------------------------------------------------------------------------

    async def _pour(self) -> None:
        self._phase = "transferring"
        assert self._intake is not None
        readers = [lane.run for lane in self._digests.values()] + ([self._inspection.run] if self._inspection else [])
        self._pouring = Pouring(self._intake, self._ring, readers, self._targets, self._limits)
        tell = self._tell
        async with AsyncExitStack() as stack:
            if self._format is None and any(target.store.traits.rereadable for target in self._targets.live):
                recording = recorded(self._recorder, self._ring, self._source, self._info, tell)
                tell = await stack.enter_async_context(recording)
            await self._pouring.run(tell)

    def _verify(self) -> Verified:
        request, size = self._request, self._ring.produced
        if size == 0:
            raise EmptyImage(f"{request.source.name} has no data: an image without data is never made active")
        if request.expected_size is not None and size != request.expected_size:
            raise DigestMismatch(f"the image has {size} bytes, {request.expected_size} were expected")
        digests = {name: lane.hexdigest() for name, lane in self._digests.items()}
        _compare(request.expected, digests, "image")
        assert self._intake is not None
        _compare(request.expected_compressed, self._intake.compressed_digests() if self._format else digests, "source")
        found = self._inspection.finding() if self._inspection else None
        algorithm = request.hash_algo.lower()
        return Verified(
            size=size,
            os_hash_algo=algorithm,
            os_hash_value=digests[algorithm],
            checksum=digests.get("md5") if request.md5 else None,
            digests=digests,
            fingerprints=Fingerprints(self._limits.slot_size, self._ring.fingerprints()),
            decompressed=self._format,
            virtual_size=found.virtual_size if found else None,
            disk_format=found.disk_format if found else None,
        )

    # -- settling ---------------------------------------------------------------------------------------------------------

    async def _settle(self, verified: Verified) -> Transferred:
        self._enter("flushing")
        await self._targets.each(lambda target: target.flush(verified.size), self._flushed)
        await self._record(self._recorder.verified(verified))
        self._enter("committing")
        if self._request.best_effort:
            await self._commit_each(verified)
        else:
            await self._targets.each(lambda target: self._commit(target, verified), self._committed)
        outcome = Transferred(
            verified=verified,
            locations={target.store_id: target.location for target in self._targets.live if target.location is not None},
            failures=self._targets.failures,
            adopted=tuple(target.store_id for target in self._targets.live if target.adopting),
            spared=self._source.spared if isinstance(self._source, ContinuedSource) else 0,
            kept=self._targets.kept,
            leftovers=self._rollback.leftovers,
        )
        await threads.to_its_end(self._recorder.finished(outcome))
        self._enter("done")
        return outcome

    async def _flushed(self, target: Target) -> None:
        await self._record(self._recorder.flushed(target.store_id))

    async def _commit(self, target: Target, verified: Verified) -> None:
        try:
            await target.commit(verified, self._recorder.undoing)
        except Duplicate as taken:
            if target.adopting:
                raise
            await target.withdraw(taken)
            await self._record(self._recorder.adopting(target.store_id))
            target.location = await adopt_faster(target.store, self._request.image_id, taken, verified, self._limits)

    async def _committed(self, target: Target) -> None:
        assert target.location is not None
        await self._record(self._recorder.committed(target.location))

    async def _record(self, call: Awaitable[None]) -> None:
        """A record is waited for even when this is cancelled: what may have been recorded must not be undone unawares."""
        if await threads.to_its_end(call):
            raise asyncio.CancelledError

    async def _commit_each(self, verified: Verified) -> None:
        """Each store on its own: what the recorder has been told of is the image's and is not undone any more.

        So a cancellation that comes after the first of them ends the import early instead of undoing it.
        """

        async def commit(target: Target) -> None:
            await self._commit(target, verified)
            await self._record(keep(target))

        async def keep(target: Target) -> None:
            assert target.location is not None
            await self._recorder.committed(target.location)
            self._rollback.forget(target.store_id)
            self._kept.append(target)

        try:
            await self._targets.each(commit)
        except asyncio.CancelledError:
            if not self._kept:
                raise
            await threads.to_its_end(self._drop_unrecorded(), self._rollback.hurry)

    async def _drop_unrecorded(self) -> None:
        for target in self._targets.live:
            if target not in self._kept:
                await self._targets.drop(target, StoreUnavailable(target.store_id, "interrupted before its commit"))

    async def _undo(self, cause: BaseException) -> None:
        self._enter("rolling back")
        self._ring.fail()
        if self._pouring is not None:
            await self._pouring.stop()
        elif self._intake is not None:
            self._source.close()  # no thread reads it yet
        if isinstance(cause, RecordInDoubt):
            return
        await self._rollback.undo_all()
        if isinstance(cause, GlanceStreamError):
            cause.leftovers = self._rollback.leftovers
        if self._kept:
            return
        try:
            await self._recorder.rolled_back(self._targets.failures, self._rollback.leftovers)
        except Exception:
            LOG.exception("the rollback could not be recorded; 'recover' will find it")

    # -- telling ------------------------------------------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._tell()

    def _tell(self) -> None:
        if self._observer is None:
            return
        read = self._intake.read if self._intake else 0
        positions = {target.store_id: target.position for target in self._targets.live}
        try:
            self._observer(Progress(self._phase, read, self._info.size, self._ring.produced, positions, self._targets.kept))
        except Exception:
            LOG.exception("what shows the progress failed, and is told nothing more")
            self._observer = None


def _check(request: TransferRequest) -> None:
    """What can be refused without touching anything."""
    if not request.stores:
        raise InvalidRequest("no store to write to")
    choose(request.decompress, b"")  # raises InvalidRequest for an unknown format
    if len({store.store_id for store in request.stores}) != len(request.stores):
        raise InvalidRequest("a store is named twice")
    for expected in (*request.expected, *request.expected_compressed):
        expected.check()
    try:
        require_digest(request.hash_algo.lower())
    except DigestRefused as error:
        raise InvalidRequest(str(error)) from error


def _compare(expected: Iterable[Expectation], digests: Mapping[str, str], what: str) -> None:
    for one in expected:
        found = digests[one.algorithm]
        if one.value != found:
            raise DigestMismatch(f"the {what}'s {one.algorithm} is {found}, expected was {one.value}")
