"""What operations give back and raise, as results: the same fields for a success, a failure and an interruption."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from glance_stream import threads
from glance_stream.cli import sizes
from glance_stream.cli.output import Result
from glance_stream.errors import (
    EXIT_INTERRUPTED,
    EXIT_LEFTOVERS,
    EXIT_PARTIAL,
    GlanceStreamError,
    ImageLocked,
    ImageNotFound,
    ImportFailed,
    InvalidRequest,
    Leftover,
    LockLost,
)
from glance_stream.importing import Outcome, Site
from glance_stream.model import Image, Status

SHOWN_CANDIDATES = 10
RECOVER = "run 'glance-stream recover' to try again to remove it"
ROLLED_BACK = "interrupted and rolled back"


class AmbiguousImage(InvalidRequest):
    """A name, or the beginning of an id, that more than one image has."""

    def __init__(self, message: str, candidates: Sequence[Image]) -> None:
        super().__init__(message)
        self.candidates = candidates

    def lines(self) -> list[str]:
        shown = [
            f"  {one.image_id}  {one.status:<9}  {'-' if one.size is None else sizes.iec(one.size):>10}  "
            f"{one.created_at.isoformat(' ', 'minutes') if one.created_at else '-'}  {one.name or '-'}"
            for one in self.candidates[:SHOWN_CANDIDATES]
        ]
        more = len(self.candidates) - len(shown)
        return [*shown, f"  and {more} more"] if more else shown


def succeeded(outcome: Outcome, verb: str, seconds: float) -> Result:
    """An operation that was carried out, perhaps not in every store."""
    image, leftovers = outcome.image, outcome.leftovers
    fields = {**image_fields(image), "seconds": round(seconds, 3), **_told(outcome.failures, leftovers, outcome.notes)}
    lines = [f"{verb} image {image.image_id} ({image.status})", *image_lines(image)]
    lines += [f"  note        {note}" for note in outcome.notes]
    if image.size and outcome.notes != ("every store has the image already",):
        lines.append(f"  took        {seconds:.1f} s, {sizes.rate(image.size, seconds)}")
    exit_code = EXIT_LEFTOVERS if leftovers else EXIT_PARTIAL if outcome.failures else 0
    return Result(exit_code, fields, lines, [*_failed_lines(outcome.failures), *leftover_lines(leftovers)])


async def failed(
    site: Site,
    image_id: str,
    error: GlanceStreamError | asyncio.CancelledError,
    since: datetime,
    interrupted: str = ROLLED_BACK,
    *,
    undone: bool = True,
) -> Result:
    """An operation that was not, and what it left of the image. ``since``: when it began.

    undone: all that it had written is removed, but for leftovers; not so where part of it may stay, as with best effort.
    """
    if isinstance(error, GlanceStreamError):
        leftovers, exit_code = error.leftovers, error.exit_code
        told = (type(error).__name__, str(error))
    else:
        leftovers, exit_code = await _recorded(site, image_id, since), EXIT_INTERRUPTED
        told = ("Interrupted", "interrupted, and not everything could be removed" if leftovers else interrupted)
    failures = error.failures if isinstance(error, ImportFailed) else {}
    image = await current(site, image_id)
    fields = {**(image_fields(image) if image else {}), **_told(failures, leftovers, ())}
    untold = {store_id: failure for store_id, failure in failures.items() if str(failure) not in told[1]}
    held = not isinstance(error, ImageNotFound | ImageLocked) and await _is_held_here(site, image_id)
    complaints = [
        *_failed_lines(untold),
        *leftover_lines(leftovers),
        *_advice(image_id, image, error, held, undone=undone and not leftovers),
    ]
    return Result(EXIT_LEFTOVERS if leftovers or held else exit_code, fields, (), complaints, told)


def refused(error: GlanceStreamError) -> Result:
    """An error that no image's state belongs to."""
    fields = _told({}, error.leftovers, ())
    exit_code = EXIT_LEFTOVERS if error.leftovers else error.exit_code
    complaints = leftover_lines(error.leftovers)
    if isinstance(error, AmbiguousImage):
        fields["candidates"] = [image_fields(one) for one in error.candidates]
        complaints = error.lines()
    return Result(exit_code, fields, (), complaints, (type(error).__name__, str(error)))


async def current(site: Site, image_id: str) -> Image | None:
    """The record as it is now; None if it is gone or can't be read, which must not hide the error that is being told."""
    try:
        return await site.image(image_id)
    except GlanceStreamError:
        return None


def image_fields(image: Image) -> dict[str, object]:
    return {
        "image_id": image.image_id,
        "name": image.name,
        "status": str(image.status),
        "size": image.size,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "checksum": image.checksum,
        "stores": list(image.stores),
    }


def image_lines(image: Image) -> list[str]:
    facts = {
        "name": image.name,
        "size": None if image.size is None else sizes.both(image.size),
        image.os_hash_algo or "hash": image.os_hash_value,
        "checksum": image.checksum,
        "stores": ", ".join(image.stores),
    }
    return [f"  {name:<11} {value}" for name, value in facts.items() if value]


def leftover_fields(leftovers: Iterable[Leftover]) -> list[dict[str, str]]:
    return [{"store": one.store_id, "trace": one.trace, "reason": one.reason} for one in leftovers]


def leftover_lines(leftovers: Iterable[Leftover]) -> list[str]:
    lines = [f"left behind in {one.store_id}: {one.trace}: {one.reason}" for one in leftovers]
    return [*lines, RECOVER] if lines else []


def _told(failures: Mapping[str, GlanceStreamError], leftovers: Iterable[Leftover], notes: Iterable[str]) -> dict[str, object]:
    reasons = {store_id: {"error": type(error).__name__, "message": str(error)} for store_id, error in failures.items()}
    return {"failed": reasons, "leftovers": leftover_fields(leftovers), "notes": list(notes)}


def _failed_lines(failures: Mapping[str, GlanceStreamError]) -> list[str]:
    return [f"failed: {store_id}: {type(error).__name__}: {error.args[0]}" for store_id, error in failures.items()]


async def _recorded(site: Site, image_id: str, since: datetime) -> tuple[Leftover, ...]:
    """A cancellation carries no leftovers; the catalogue has them."""
    recorded = await threads.call(site.catalogue.leftovers)
    return tuple(one.leftover for one in recorded if one.image_id == image_id and one.at >= since)


async def _is_held_here(site: Site, image_id: str) -> bool:
    """Whether this process has not let go of the image, as when its failure could not be recorded. False where it can't be told."""
    try:
        holder = await threads.call(site.catalogue.holder, image_id)
    except GlanceStreamError:  # must not hide the error that is being told
        return False
    return holder is not None and holder.process.pid == os.getpid()


def _advice(image_id: str, image: Image | None, error: BaseException, held: bool, *, undone: bool) -> list[str]:
    """What to do now."""
    if isinstance(error, LockLost) and not held:
        removed = ["what this run had written is removed"] if undone else []
        shown = [f"'glance-stream show {image_id}' tells who has the image now"] if image else []
        return ["; ".join([*removed, *shown])] if removed or shown else []
    if image is None or isinstance(error, ImageNotFound | ImageLocked):
        return []
    if held:
        return [f"the image stays locked: {RECOVER.replace('try again to remove it', 'finish the rollback')}"]
    if image.status is Status.QUEUED:
        return [
            f"the image stays queued: run the import again with --id {image_id}, "
            f"or remove the record with 'glance-stream delete {image_id}'"
        ]
    return []
