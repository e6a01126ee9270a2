"""Two hosts on one catalogue and the same stores, and gates at which an operation of the first stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from importing_words import LIMITS, Fault, FaultyStore, House, content, run
from sqlalchemy import text

from glance_stream import threads
from glance_stream.catalogue import Catalogue
from glance_stream.importing import Site
from glance_stream.model import Location
from glance_stream.stores import Stores

STORES = ("a", "b", "c", "d")
DATA = content()
PATIENCE = 120.0
# Nothing here is to fail because the machine is slow.
PATIENT = replace(LIMITS, store_timeout=PATIENCE, source_timeout=PATIENCE, undo_timeout=PATIENCE)
WRITES = {"open", "opened", "write", "flush", "commit", "after commit", "abort", "delete", "discard"}


class Gate:
    """A step of a store stops here until it is let through, or is made to fail."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go = threading.Event()
        self._error: BaseException | None = None

    def __call__(self) -> None:
        if self.reached.is_set():
            return  # once
        self.reached.set()
        assert self._go.wait(PATIENCE)
        if self._error is not None:
            raise self._error

    def open(self, error: BaseException | None = None) -> None:
        self._error = error
        self._go.set()


class GatedStore(FaultyStore):
    """Has one more step: the data is deleted, and nobody has been told."""

    async def delete(self, location: Location) -> None:
        await super().delete(location)
        await threads.call(self.meet, "after delete")


class Host(House):
    """A site in a process of its own, as far as the catalogue can tell: connections, stores and lock are nobody else's."""

    def __init__(self, root: Path, url: str, faults: Mapping[str, Mapping[str, Fault]] | None = None) -> None:
        catalogue = Catalogue(url)
        stores = {name: GatedStore(name, root / "stores" / name, (faults or {}).get(name)) for name in STORES}
        super().__init__(root, Site(catalogue, Stores({}, stores), "a", limits=PATIENT), catalogue)  # type: ignore[arg-type]

    def faulty(self, store_id: str) -> FaultyStore:
        store = self.store(store_id)
        assert isinstance(store, FaultyStore)
        return store

    def gate(self, store_id: str, step: str) -> Gate:
        self.faulty(store_id).faults[step] = gate = Gate()
        return gate

    def forget_steps(self) -> None:
        for name in STORES:
            self.faulty(name).steps.clear()

    def written(self) -> set[str]:
        """Steps taken in any store that are more than asking."""
        return {step for name in STORES for step in self.faulty(name).steps} & WRITES

    def rows(self) -> dict[str, int]:
        """Of all tables but those that count for ever."""
        with self.catalogue._database.read() as connection:
            from glance_stream.catalogue.tables import schema

            names = [table.name for table in schema.sorted_tables if table.name not in ("transactions", "alembic_version")]
            counts = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in names}
        return {name: count for name, count in counts.items() if count}

    def delete_record(self, image_id: str) -> None:
        """As somebody else does who knows nothing of locks: the row goes, and what refers to it."""
        with self.catalogue._database._engine.begin() as connection:
            connection.execute(text("DELETE FROM images WHERE id = :id"), {"id": image_id})


def beside(operation: Callable[[], Any]) -> Future[Any]:
    """Run it on a thread of its own, with an event loop of its own."""
    return threads.THREADS.submit(lambda: run(operation(), seconds=2 * PATIENCE))


def outcome(operation: Callable[[], Any]) -> Any:
    """What it gives, or the error that it raises."""
    try:
        return run(operation(), seconds=PATIENCE)
    except Exception as error:
        return error
