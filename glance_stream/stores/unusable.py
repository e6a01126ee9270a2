"""A store that another configuration names and that can't be used here. It has its place among the others, and says why."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from glance_stream.errors import StoreDenied
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer


class UnusableOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``driver``: what the store would be; ``reason``: why it can't be used, without secrets."""

    driver: str
    reason: str


class UnusableStore(Store):
    """Refuses everything as a store without permission does: all-stores leaves it out and says so (AC14)."""

    type = "unusable"

    def __init__(self, store_id: str, driver: str, reason: str, *, read_only: bool = False) -> None:
        self.store_id = store_id
        self.traits = Traits(read_only=read_only)
        self._driver = driver
        self._reason = reason

    @classmethod
    def from_options(cls, store_id: str, options: UnusableOptions, *, read_only: bool = False) -> UnusableStore:
        return cls(store_id, options.driver, options.reason, read_only=read_only)

    @property
    def where(self) -> str:
        return f"a store of type {self._driver}"

    def _refuse(self) -> NoReturn:
        raise StoreDenied(self.store_id, f"can't be used: {self._reason}")

    async def open(self) -> None:
        self._refuse()

    def writer(self, image_id: str) -> Writer:
        self._refuse()

    def open_reader(self, location: Location) -> Source:
        self._refuse()

    async def stat(self, location: Location) -> ObjectStat:
        self._refuse()

    async def delete(self, location: Location) -> None:
        self._refuse()

    async def discard(self, trace: str) -> None:
        self._refuse()

    async def strays(self) -> list[Stray]:
        self._refuse()

    async def find(self, image_id: str) -> Location | None:
        self._refuse()

    def owns(self, url: str) -> bool:
        """Nothing: where it would keep its images is not known."""
        return False
