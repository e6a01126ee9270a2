"""Which stores a request means, and every refusal of it before a byte moves (glance-api ``images.py`` import_image).

Where Glance accepts and then fails or gets stuck (reserved stores, an empty list, a store named twice, a read-only store), this
refuses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from glance_stream import threads
from glance_stream.catalogue import Catalogue
from glance_stream.errors import (
    CatalogueError,
    GlanceStreamError,
    InvalidRequest,
    StoreDenied,
    StoreError,
    StoreReadOnly,
    StoreTimeout,
)
from glance_stream.importing.asking import ask
from glance_stream.importing.site import Site
from glance_stream.stores.base import Store

LOG = logging.getLogger(__name__)

# Whether a store can be written to is asked before anything starts; one that hangs on that will not be waited for long.
OPEN_SECONDS = 30.0


@dataclass(frozen=True)
class Chosen:
    """Ids of the stores to write to, and what the user should know of the others."""

    stores: tuple[str, ...]
    notes: tuple[str, ...] = ()


async def choose_stores(site: Site, stores: Sequence[str] | None, all_stores: bool) -> Chosen:
    """Raises InvalidRequest."""
    if not isinstance(all_stores, bool):
        raise InvalidRequest("all_stores must be boolean value only")
    if all_stores and stores is not None:
        raise InvalidRequest("all_stores parameter can't be used with stores")
    if all_stores:
        return await _writable(site)
    named = [site.default_store] if stores is None else _listed(stores)
    chosen = [site.store(name) for name in named]
    for store in chosen:
        if store.traits.read_only:
            raise InvalidRequest(f"store {store.store_id!r} is read-only")
    if len({store.store_id for store in chosen}) != len(chosen):
        raise InvalidRequest("a store is named twice")
    await _require_apart(chosen)
    await asyncio.gather(*(expect_recorded(site.catalogue, store, list(site.stores)) for store in chosen))
    return Chosen(tuple(store.store_id for store in chosen))


def _listed(stores: Sequence[str]) -> Sequence[str]:
    if isinstance(stores, str) or not isinstance(stores, Sequence) or not all(isinstance(one, str) for one in stores):
        raise InvalidRequest("stores must be a list of store ids")
    if not stores:
        raise InvalidRequest("stores is an empty list: name at least one store")
    return stores


async def _writable(site: Site) -> Chosen:
    """All stores but those that can't be written to. One that is merely down is still meant, and then fails (bug 1881958)."""
    ids = list(site.stores)
    refusals = await asyncio.gather(*(_refusal(site, store_id) for store_id in ids))
    chosen = tuple(store_id for store_id, refusal in zip(ids, refusals, strict=True) if refusal is None)
    if not chosen:
        raise InvalidRequest("no store can be written to")
    await _require_apart([site.store(store_id) for store_id in chosen])
    return Chosen(chosen, tuple(f"left out of all stores: {refusal}" for refusal in refusals if refusal))


async def _require_apart(stores: Sequence[Store]) -> None:
    """Two ways to one directory, bucket or pool: undoing in the one would delete what the other has committed."""
    seen: dict[str, str] = {}
    for store, places in zip(stores, await asyncio.gather(*map(_places, stores)), strict=True):
        for place in places:
            other = seen.setdefault(place, store.store_id)
            if other != store.store_id:
                raise InvalidRequest(f"stores {other!r} and {store.store_id!r} are one and the same place, {store.where}")


async def _places(store: Store) -> frozenset[str]:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await store.places()
    except (GlanceStreamError, TimeoutError) as error:
        LOG.warning("store %r: it can't be told where it is: %s", store.store_id, error)
        return frozenset()  # it will hardly commit anything


async def _refusal(site: Site, store_id: str) -> str | None:
    """Why the store is not one of all stores: '' if it is read-only by its nature, None if it is one of them."""
    lost = False
    try:
        store = site.store(store_id)
        if store.traits.read_only:
            return ""
        lost = await expect_recorded(site.catalogue, store, list(site.stores))
        await open_store(store)
    except (StoreDenied, StoreReadOnly) as error:
        LOG.warning("left out of all stores: %s", error)
        return str(error)
    except (InvalidRequest, CatalogueError):
        raise  # a store that is configured wrongly is a mistake to be mended, not to be passed over
    except GlanceStreamError as error:
        if lost:
            LOG.warning("left out of all stores: %s", error)
            return str(error)
        LOG.warning("%s", error)
    return None


async def expect_recorded(catalogue: Catalogue, store: Store, known: Collection[str]) -> bool:
    """Whether the store's place is missing although images are recorded in it. The store is told, and refuses to be opened.

    Only where the place is missing is the catalogue asked. ``known``: ids of all stores. Raises CatalogueError.
    """
    if not await is_missing(store):
        return False
    urls = await threads.call(catalogue.urls_in, store.store_id, set(known) - {store.store_id})
    recorded = sum(store.owns(url) for url in urls)
    store.expect(recorded)
    return recorded > 0


async def is_missing(store: Store) -> bool:
    """Whether it is known that a writer would have to make the store's place."""
    try:
        return not await ask(store.store_id, store.is_there(), OPEN_SECONDS)
    except StoreError as error:
        LOG.warning("%s", error)
        return False  # its opening will tell


async def open_store(store: Store) -> None:
    """Open a store within a time limit. Raises StoreError."""
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await store.open()
    except TimeoutError as error:
        raise StoreTimeout(store.store_id, f"opening has not ended within {OPEN_SECONDS:g} s") from error
