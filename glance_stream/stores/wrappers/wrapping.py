"""What a store is wrapped in, as configured. From the inside out, each for its reason:

1. time limits: of one try each, and not of the waits between them;
2. retries: what timed out may be tried again;
3. bandwidth: waiting for the pace is no silence of the store, and what is read twice is not paid for twice.

A store for which none of that is configured stays as it is.
"""

from __future__ import annotations

import math
from typing import TypeVar

from glance_stream.config import TransferConfig, WrapperConfig
from glance_stream.errors import InvalidRequest
from glance_stream.retry import BUDGET_SECONDS, TRIES, RetryPolicy
from glance_stream.stores.base import Store
from glance_stream.stores.wrappers.bandwidth import PacedStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.time_limits import TimeLimitedStore, TimeLimits
from glance_stream.stores.wrappers.token_bucket import Bandwidth, shared

T = TypeVar("T")

# Those that are asked again unless configured otherwise: they are reached over a network, and do not do it for every call by
# themselves as the http store does. A local file that fails fails again.
RETRIED_TYPES = {"glance_store", "rbd", "s3", "swift"}


def wrap(store: Store, settings: WrapperConfig, transfer: TransferConfig) -> Store:
    """The store in its wrappers; the store itself when it needs none. Raises InvalidRequest for a bandwidth that is too small."""
    return _pace(_retry(_limit(store, settings, transfer), settings, transfer), settings, transfer)


def _limit(store: Store, settings: WrapperConfig, transfer: TransferConfig) -> Store:
    limits = TimeLimits(
        open=_first(settings.open_timeout, transfer.open_timeout),
        call=_first(settings.call_timeout, transfer.call_timeout),
        progress=_first(settings.progress_timeout, transfer.progress_timeout),
    )
    return store if limits == TimeLimits() else TimeLimitedStore(store, limits)


def _retry(store: Store, settings: WrapperConfig, transfer: TransferConfig) -> Store:
    retries = _first(settings.retries, transfer.retries)
    if retries is None:
        retries = TRIES - 1 if store.type in RETRIED_TYPES else 0
    budget = _first(settings.retry_budget, transfer.retry_budget) or BUDGET_SECONDS
    return RetryingStore(store, RetryPolicy(tries=retries + 1, budget=budget)) if retries else store


def _pace(store: Store, settings: WrapperConfig, transfer: TransferConfig) -> Store:
    for rate in (settings.bandwidth, transfer.bandwidth):
        _require_pace(store.store_id, rate, transfer)
    limits = []
    if settings.bandwidth is not None:
        limits.append(Bandwidth(settings.bandwidth))
    if transfer.bandwidth is not None:
        limits.append(shared(transfer.bandwidth))
    return PacedStore(store, *limits) if limits else store


def _require_pace(store_id: str, rate: int | None, transfer: TransferConfig) -> None:
    """A store that may not write a slot in its time would pass for hung. Where stores share the limit it takes more than this."""
    least = math.ceil(2 * transfer.slot_size / transfer.store_timeout)
    if rate is not None and rate < least:
        raise InvalidRequest(
            f"store {store_id!r}: a bandwidth of {rate} bytes a second is too small to write a slot of {transfer.slot_size} bytes "
            f"well within store_timeout, {transfer.store_timeout:g} s: allow at least {least}, or take smaller slots"
        )


def _first(own: T | None, common: T | None) -> T | None:
    return common if own is None else own
