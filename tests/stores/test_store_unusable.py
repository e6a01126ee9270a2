"""A store that can't be used here stands among the others and refuses everything with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from faults.loop import run
from subject import IMAGE

from glance_stream.config import StoreConfig
from glance_stream.errors import StoreDenied
from glance_stream.model import Location
from glance_stream.stores import Stores
from glance_stream.stores.base import Store

LOCATION = Location(f"zfs://pool/{IMAGE}", "odd")
CALLS: list[Callable[[Store], Any]] = [
    lambda store: run(store.open()),
    lambda store: store.writer(IMAGE),
    lambda store: store.open_reader(LOCATION),
    lambda store: run(store.stat(LOCATION)),
    lambda store: run(store.delete(LOCATION)),
    lambda store: run(store.discard("trace")),
    lambda store: run(store.strays()),
    lambda store: run(store.find(IMAGE)),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_refused_with_the_reason(call: Callable[[Store], Any]) -> None:
    store = Stores({"odd": StoreConfig(type="unusable", options={"driver": "zfs", "reason": "no such driver"})})["odd"]
    with pytest.raises(StoreDenied, match="store 'odd': can't be used: no such driver"):
        call(store)
    assert not store.owns(LOCATION.url)
