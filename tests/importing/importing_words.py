"""What the tests of importing say again and again: a site on real file stores, a watched catalogue, and stores that fail on cue."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event

from glance_stream import threads
from glance_stream.catalogue import Catalogue
from glance_stream.chunker import Lane, Ring
from glance_stream.importing import ImportRequest, Outcome, Site, import_image
from glance_stream.model import FAILED_IMPORT, IMPORT_TASK, IMPORTING_TO_STORES, Image, Location, Status
from glance_stream.sources import PathSource
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores import Stores
from glance_stream.stores.base import ObjectStat, Store, Writer
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Limits

T = TypeVar("T")

SLOT = 64 << 10
LIMITS = Limits(slots=4, slot_size=SLOT, store_timeout=5.0, source_timeout=10.0, undo_timeout=2.0)
TIME_LIMIT = 30.0


def run(coroutine: Coroutine[Any, Any, T], seconds: float = TIME_LIMIT) -> T:
    """Run to the end; a hang is a failure of the test and not of the whole run."""

    async def limited() -> T:
        async with asyncio.timeout(seconds):
            return await coroutine

    return asyncio.run(limited())


def content(size: int = 5 * SLOT + 123, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


# -- the catalogue, watched -----------------------------------------------------------------------------------------------------

WRITES = (
    "create_image",
    "create_and_begin",
    "delete_image",
    "update_properties",
    "resolve_location",
    "acquire",
    "take_over",
    "release",
    "begin",
    "opened",
    "adopting",
    "verified",
    "committed",
    "add_location",
    "record_success",
    "record_failure",
    "remove_location",
    "deleting",
    "kept",
    "record_leftovers",
)


class WatchedCatalogue(Catalogue):
    """After every write: no image is active without a location (AC11). ``history`` is each write and the states after it."""

    def __init__(self, url: str) -> None:
        self.history: list[tuple[str, dict[str, Image]]] = []
        super().__init__(url)
        # These tests kill processes and not machines, and a sync for each write would take most of their time.
        event.listen(self._database._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        self._database._engine.dispose()

    def look(self, after: str) -> None:
        images = {image.image_id: image for image in self.list_images()}
        self.history.append((after, images))
        for image in images.values():
            assert_has_data_if_active(image)

    def statuses(self, image_id: str) -> list[Status]:
        """Without repetitions."""
        found: list[Status] = []
        for _, images in self.history:
            if image_id in images and (not found or found[-1] is not images[image_id].status):
                found.append(images[image_id].status)
        return found


def _watched(name: str) -> Callable[..., Any]:
    def method(self: WatchedCatalogue, *args: Any, **options: Any) -> Any:
        result = getattr(Catalogue, name)(self, *args, **options)
        self.look(name)
        return result

    return method


for _name in WRITES:
    setattr(WatchedCatalogue, _name, _watched(_name))


def assert_has_data_if_active(image: Image) -> None:
    if image.status is Status.ACTIVE:
        assert image.locations, f"{image.image_id} is active with zero locations"
        assert image.size, f"{image.image_id} is active with no size"


# -- stores that fail on cue ------------------------------------------------------------------------------------------------------

Fault = BaseException | Callable[[], None]
STEPS = ("open", "opened", "write", "flush", "commit", "after commit", "abort", "delete", "discard", "stat", "find", "connect")


class FaultyStore(FileStore):
    """A file store. ``faults`` maps a step of STEPS to an error that is raised there, or to a function that is called there."""

    def __init__(self, store_id: str, path: Path, faults: Mapping[str, Fault] | None = None) -> None:
        super().__init__(store_id, path)
        self.faults = dict(faults or {})
        self.steps: list[str] = []
        assert set(self.faults) <= set(STEPS)

    def meet(self, step: str) -> None:
        self.steps.append(step)
        fault = self.faults.get(step)
        if isinstance(fault, BaseException):
            raise fault
        if fault is not None:
            fault()

    async def open(self) -> None:
        await asyncio.to_thread(self.meet, "connect") if "connect" in self.faults else None
        await super().open()

    def writer(self, image_id: str) -> Writer:
        return _FaultyWriter(self, super().writer(image_id))

    async def stat(self, location: Location) -> ObjectStat:
        await threads.call(self.meet, "stat")
        return await super().stat(location)

    async def find(self, image_id: str) -> Location | None:
        await threads.call(self.meet, "find")
        return await super().find(image_id)

    async def delete(self, location: Location) -> None:
        await threads.call(self.meet, "delete")
        await super().delete(location)

    async def discard(self, trace: str) -> None:
        await threads.call(self.meet, "discard")
        await super().discard(trace)


class _FaultyWriter(Writer):
    def __init__(self, store: FaultyStore, inner: Writer) -> None:
        self._store = store
        self._inner = inner
        self.trace = inner.trace

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        await threads.call(self._store.meet, "open")
        await self._inner.open(size_hint, thin=thin)
        await threads.call(self._store.meet, "opened")

    def attach(self, ring: Ring) -> Lane:
        return self._inner.attach(ring)

    def drain(self, lane: Lane) -> None:
        self._store.meet("write")
        self._inner.drain(lane)

    def write(self, view: memoryview) -> None:
        self._inner.write(view)

    async def flush(self, size: int) -> None:
        await asyncio.to_thread(self._store.meet, "flush")
        await self._inner.flush(size)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        await asyncio.to_thread(self._store.meet, "commit")
        location = await self._inner.commit(size, digests)
        await asyncio.to_thread(self._store.meet, "after commit")
        return location

    async def published(self) -> Location | None:
        return await self._inner.published()

    async def abort(self) -> None:
        self._store.meet("abort")
        await self._inner.abort()


def die() -> None:
    """As `kill -9` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


class CountingSource(Source):
    """Bytes, and whether anybody ever asked for them."""

    def __init__(self, data: bytes, *, piece: int = SLOT, known_size: bool = True) -> None:
        self.name = "the test's bytes"
        self.opened = 0
        self.given = 0
        self._data = data
        self._piece = piece
        self._known = known_size

    def open(self) -> SourceInfo:
        self.opened += 1
        return SourceInfo(len(self._data) if self._known else None)

    def readinto(self, view: memoryview) -> int:
        n = min(len(view), self._piece, len(self._data) - self.given)
        view[:n] = self._data[self.given : self.given + n]
        self.given += n
        return n

    def close(self) -> None:
        pass


class HeldSource(CountingSource):
    """Gives its first piece, and the rest once ``go`` is set; ``waiting`` is set when it has come to that."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, known_size=False)
        self.go = threading.Event()
        self.waiting = threading.Event()
        self._interrupted = False

    def readinto(self, view: memoryview) -> int:
        if self.given:
            self.waiting.set()
            while not self.go.wait(0.01):
                if self._interrupted:
                    raise OSError("interrupted")
        return super().readinto(view)

    def interrupt(self) -> None:
        self._interrupted = True


async def until(event: threading.Event, seconds: float = 10.0) -> None:
    """Wait for another thread without blocking the loop."""
    deadline = time.monotonic() + seconds
    while not event.is_set():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.005)


# -- a site -----------------------------------------------------------------------------------------------------------------------


@dataclass
class House:
    """A site in a directory, and what the tests ask of it. ``beside``: files in the stores that are none of ours."""

    root: Path
    site: Site
    catalogue: WatchedCatalogue
    beside: set[str] = field(default_factory=set)

    def store(self, store_id: str) -> Store:
        return self.site.stores[store_id]

    def directory(self, store_id: str) -> Path:
        store = self.store(store_id)
        assert isinstance(store, FileStore)
        return store.path

    def source(self, data: bytes, name: str = "source.img") -> PathSource:
        path = self.root / name
        path.write_bytes(data)
        return PathSource(path)

    def import_(self, data: bytes | Source, **options: Any) -> Outcome:
        """Import bytes; the keywords are those of ImportRequest."""
        source = self.source(data) if isinstance(data, bytes) else data
        return run(import_image(self.site, ImportRequest(source, **options)))

    def active(self, data: bytes | None = None, *stores: str, **options: Any) -> Image:
        """An image in these stores (`a` by default)."""
        return self.import_(content() if data is None else data, stores=list(stores or ["a"]), **options).image

    def queued(self, **options: Any) -> Image:
        values = {"name": "jammy", "disk_format": "raw", "container_format": "bare", "properties": {"os": "ubuntu"}} | options
        return self.catalogue.create_image(str(uuid.uuid4()), **values)

    def image(self, image_id: str) -> Image:
        return self.catalogue.get_image(image_id)

    def object(self, store_id: str, image_id: str) -> bytes | None:
        path = self.directory(store_id) / image_id
        return path.read_bytes() if path.exists() else None

    def files(self, *stores: str) -> list[str]:
        """Everything in these file stores (all by default), temporary files too, as store/name."""
        chosen = stores or [store_id for store_id in self.site.stores if isinstance(self.store(store_id), FileStore)]
        found = []
        for store_id in chosen:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found += [f"{store_id}/{name}" for name in os.listdir(self.directory(store_id))]
        return sorted(set(found) - self.beside)

    def lists(self, image_id: str) -> tuple[str | None, str | None]:
        properties = self.image(image_id).properties
        return properties.get(IMPORTING_TO_STORES), properties.get(FAILED_IMPORT)


def open_house(
    root: Path,
    stores: Mapping[str, Store] | Iterable[str] = ("a", "b", "c"),
    *,
    limits: Limits = LIMITS,
    default: str | None = None,
) -> House:
    """A site whose stores are given, or file stores of these names below ``root``."""
    built = stores if isinstance(stores, Mapping) else {name: FileStore(name, root / "stores" / name) for name in stores}
    catalogue = WatchedCatalogue(f"sqlite:///{root}/catalogue.db")
    site = Site(catalogue, Stores({}, built), default or next(iter(built)), limits=limits)
    return House(root, site, catalogue)


def file_stores(root: Path, *names: str, **faults: Mapping[str, Fault]) -> dict[str, Store]:
    """File stores below ``root``; those named by a keyword have these faults."""
    return {
        name: FaultyStore(name, root / "stores" / name, faults[name]) if name in faults else FileStore(name, root / "stores" / name)
        for name in dict.fromkeys([*names, *faults])
    }


def state(image: Image) -> tuple[object, ...]:
    """All of an image that a failure must restore: everything but when it was changed and the import's own two lists."""
    users = {name: value for name, value in image.properties.items() if not name.startswith("os_glance")}
    digests = (image.checksum, image.os_hash_algo, image.os_hash_value)
    names = (image.name, image.disk_format, image.container_format)
    return image.status, image.size, image.virtual_size, *digests, *names, image.locations, users


def assert_settled(house: House, image_id: str, requested: Iterable[str]) -> None:
    """Invariant 6 and AC4, for every terminal outcome: nothing importing, each failed store was asked for and has a reason."""
    image = house.image(image_id)
    importing, failed = house.lists(image_id)
    listed = [store_id for store_id in (failed or "").split(",") if store_id]
    assert importing in ("", None)
    assert set(listed) <= set(requested)
    reasons = {failure.store_id: failure.message for failure in house.catalogue.failures(image_id)}
    assert sorted(reasons) == listed
    assert all(reasons.values())
    assert IMPORT_TASK not in image.properties
    assert house.catalogue.holder(image_id) is None
    assert image.status is not Status.IMPORTING
    assert_has_data_if_active(image)
    assert all(location.store_id for location in image.locations)


def assert_holds(house: House, image_id: str, data: bytes, *stores: str) -> None:
    """The image is active in just these stores, byte for byte, and the stores hold nothing beside it."""
    image = house.image(image_id)
    assert image.status is Status.ACTIVE
    assert image.stores == tuple(sorted(stores))
    assert (image.size, image.os_hash_value) == (len(data), hashlib.new(image.os_hash_algo or "", data).hexdigest())
    for store_id in stores:
        assert house.object(store_id, image_id) == data
    assert house.files() == sorted(f"{store_id}/{image_id}" for store_id in stores)
