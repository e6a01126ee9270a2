"""Removing what writers of ours left in the stores and no record knows.

After a kill the journal knows, and `recover` finishes. A stray that no journal knows comes of another catalogue: one that was
lost, or that of another host. Whether its writer is still at work there can't be told, so only its age speaks: sweep what is older
than any import takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from glance_stream import threads
from glance_stream.errors import GlanceStreamError, InvalidRequest, Leftover
from glance_stream.importing.asking import ask
from glance_stream.importing.choosing import open_store
from glance_stream.importing.site import Site
from glance_stream.stores.base import Stray
from glance_stream.transfer.target import as_store_error


@dataclass(frozen=True)
class Found:
    """A stray and the store that it is in."""

    store_id: str
    stray: Stray


@dataclass(frozen=True)
class Swept:
    """removed: or what would be, in a dry run. spared: too young, or on record. failed: stores that could not be asked."""

    removed: tuple[Found, ...] = ()
    spared: tuple[Found, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    failed: Mapping[str, GlanceStreamError] = field(default_factory=dict)


async def sweep(site: Site, older_than: float, *, dry_run: bool = False) -> Swept:
    """Discard the strays of all writable stores that have not changed for ``older_than`` seconds and that no record knows.

    Raises InvalidRequest, CatalogueError with nothing removed. A store's failure keeps no other from being swept.
    """
    if not older_than >= 0:
        raise InvalidRequest("older_than can't be negative")
    ids = list(site.stores)
    answers = await asyncio.gather(*(_strays(site, store_id) for store_id in ids))
    failed = {store_id: answer for store_id, answer in zip(ids, answers, strict=True) if isinstance(answer, GlanceStreamError)}
    found = [one for answer in answers if not isinstance(answer, GlanceStreamError) for one in answer]
    # Only now: a writer is on record before it touches its store, so whatever was found and has a record has it already.
    traces, images = await threads.call(_on_record, site)
    old = [
        one for one in found if one.stray.age >= older_than and one.stray.trace not in traces and one.stray.image_id not in images
    ]
    left = {} if dry_run else {one: leftover for one in old if (leftover := await _discard(site, one)) is not None}
    return Swept(
        removed=tuple(one for one in old if one not in left),
        spared=tuple(one for one in found if one not in old),
        leftovers=tuple(left.values()),
        failed=failed,
    )


async def _strays(site: Site, store_id: str) -> list[Found] | GlanceStreamError:
    try:
        store = site.store(store_id)
        if store.traits.read_only:
            return []
        await open_store(store)
        return [Found(store_id, stray) for stray in await ask(store_id, store.strays(), site.limits.store_timeout)]
    except Exception as error:
        return as_store_error(store_id, error)


def _on_record(site: Site) -> tuple[set[str], set[str]]:
    """Traces of operations under way or interrupted and of leftovers; ids of images that somebody works on.

    A store may know a stray by another trace than its writer had. Blocking.
    """
    interrupted = site.catalogue.interrupted()
    entries = [entry for one in interrupted if one.journal for entry in one.journal.entries]
    traces = {entry.trace for entry in entries if entry.trace} | {one.leftover.trace for one in site.catalogue.leftovers()}
    return traces, {one.image.image_id for one in interrupted}


async def _discard(site: Site, one: Found) -> Leftover | None:
    """The leftover if it can't be removed."""
    try:
        await ask(one.store_id, site.store(one.store_id).discard(one.stray.trace), site.limits.undo_timeout)
    except GlanceStreamError as error:
        return Leftover(one.store_id, one.stray.trace, str(error))
    return None
