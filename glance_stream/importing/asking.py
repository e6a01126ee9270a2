"""Asking a store outside of a transfer, within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from glance_stream.errors import GlanceStreamError, StoreTimeout
from glance_stream.importing.site import Site
from glance_stream.model import Location
from glance_stream.stores.base import ObjectStat
from glance_stream.transfer.target import as_store_error

T = TypeVar("T")


async def ask(store_id: str, call: Awaitable[T], seconds: float, late: str = "no answer") -> T:
    """What a store answers in its time. Whatever it raises is this store's failure and keeps no other from being asked.

    Raises StoreError; StoreTimeout, which begins with ``late``.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call
    except Exception as error:
        if limit.expired():
            raise StoreTimeout(store_id, f"{late} within {seconds:g} s") from error
        if isinstance(error, GlanceStreamError):
            raise
        raise as_store_error(store_id, error) from error


async def ask_stat(site: Site, location: Location) -> ObjectStat:
    """Raises NotFound, StoreError."""
    return await ask(location.store_id, site.store(location.store_id).stat(location), site.limits.undo_timeout)
