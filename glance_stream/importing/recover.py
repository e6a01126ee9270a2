"""Finishing what a dead or silent process began, and what a rollback could not remove."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from glance_stream import threads
from glance_stream.catalogue import Interrupted, may_be_taken_over, why_locked
from glance_stream.errors import ImageLocked, Leftover
from glance_stream.importing.interrupted import RolledBack, Trace, roll_back, to_be_discarded
from glance_stream.importing.leftovers import remove_leftover
from glance_stream.importing.site import Site

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """What `recover` did, or would do: images rolled back or finished, what of them was discarded; images whose holder is at work.

    removed and leftovers: of what earlier rollbacks had left, what is gone now, and what is still there.
    """

    images: tuple[str, ...] = ()
    discarded: tuple[Trace, ...] = ()
    held: tuple[str, ...] = ()
    removed: tuple[Leftover, ...] = ()
    leftovers: tuple[Leftover, ...] = ()


async def recover(site: Site, image_id: str | None = None) -> Recovered:
    """Roll back every operation whose process is certainly dead or whose lease has ended, then try again to remove every leftover.

    ``image_id``: of this image alone.
    """
    done: list[RolledBack] = []
    held: list[str] = []
    for interrupted in await _interrupted(site, image_id):
        if not may_be_taken_over(interrupted.task):
            held.append(f"image {interrupted.image.image_id}: {why_locked(interrupted.task)}")
            continue
        try:
            done.append(await roll_back(site, interrupted))
        except ImageLocked as error:
            LOG.warning("%s", error)
            held.append(str(error))
    removed: list[Leftover] = []
    kept: list[Leftover] = []
    for recorded in await threads.call(site.catalogue.leftovers):
        if image_id not in (None, recorded.image_id):
            continue
        still = await remove_leftover(site, recorded)
        if still is None:
            removed.append(recorded.leftover)
        else:
            kept.append(still)
    discarded = tuple(trace for one in done for trace in one.discarded)
    return Recovered(tuple(one.image_id for one in done), discarded, tuple(held), tuple(removed), tuple(kept))


async def foresee(site: Site, image_id: str | None = None) -> Recovered:
    """What `recover` would do. No store is asked: objects that were committed without a record are not among it."""
    found = await _interrupted(site, image_id)
    ended = [one for one in found if may_be_taken_over(one.task)]
    held = [f"image {one.image.image_id}: {why_locked(one.task)}" for one in found if not may_be_taken_over(one.task)]
    left = await threads.call(site.catalogue.leftovers)
    return Recovered(
        images=tuple(one.image.image_id for one in ended),
        discarded=tuple(trace for one in ended if one.journal for trace in to_be_discarded(one.journal)),
        held=tuple(held),
        removed=tuple(one.leftover for one in left if image_id in (None, one.image_id)),
    )


async def _interrupted(site: Site, image_id: str | None) -> list[Interrupted]:
    if image_id is None:
        return await threads.call(site.catalogue.interrupted)
    await site.image(image_id)
    found = await threads.call(site.catalogue.interruption, image_id)
    return [] if found is None else [found]
