"""Many images of 64 KiB into three stores: what an image costs beside its bytes.

In memory (tmpfs) nothing has to wait for a disk, and on the disk everything does; the difference is the cost of fsync. The
transaction alone makes no records, the records alone move no bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.records import record
from compare.result import Floor, Role, Rows, Sample, Target, at_least
from compare.site import open_site
from compare.workload import Workload
from glance_stream import loop
from glance_stream.benchmark.machine import filesystem
from glance_stream.importing import ImportRequest, Site, import_image
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import TransferRequest, transfer

STORES = 3
IMAGE = 64 << 10
MOST = 1000
ROUNDS = 3  # six thousand images each
BYTES_FOR_EACH = 2 << 20  # of the run's image: a short run takes fewer
RATE = "images_per_second"
WANTED = 300
MEMORY = Path("/dev/shm")

# In one process. One leaves a core idle while it waits; of more, each waits for the interpreter's lock. Transactions in memory:
# 1 or 2 at once gave 420 a second, 4 gave 360, 8 and 16 gave 270.
AT_ONCE = 2


def workloads() -> list[Workload]:
    places = {"memory": "in memory", "disk": "on the disk"}
    jobs = [
        _job(f"{what}-{place}", f"{title}, {words}", role if place == "memory" else "variant", run, place)
        for what, title, role, run in WORK
        for place, words in places.items()
    ]
    title = f"{MOST:,} images of 64 KiB into {STORES} file stores"
    return [Workload("small", title, jobs, rate, size=size_of, rounds=ROUNDS, notes=[NOTE], remarks=disk_cost)]


NOTE = "The target is imports in memory, where fsync costs nothing; a catalogue that makes fewer records than that is the bound."


def rate(rows: Rows, floor: Floor | None) -> Target | None:
    """No more imports can be asked for than records can be made."""
    if "small-import-memory" not in rows or "small-records-memory" not in rows:
        return None
    ours, records = (rows[f"small-{what}-memory"].value(RATE) for what in ("import", "records"))
    return at_least(f">= {WANTED} images/s in memory, or what the catalogue makes", min(WANTED, records), ours)


def disk_cost(rows: Rows) -> list[str]:
    """What fsync costs, and all else that a disk is slower at than memory."""
    costs = []
    for what, title, _, _ in WORK:
        found = [rows.get(f"small-{what}-{place}") for place in ("disk", "memory")]
        if all(found):
            disk, memory = (1000 / row.value(RATE) for row in found if row)
            costs.append(f"{title} {disk - memory:.2f}")
    return [f"The disk and its fsync cost, ms an image: {', '.join(costs)}."] if costs else []


def size_of(ground: Ground) -> int:
    return IMAGE * count_of(ground)


def count_of(ground: Ground) -> int:
    return max(4, min(MOST, ground.size // BYTES_FOR_EACH))


def _job(key: str, title: str, role: Role, run: Callable[..., Sample], place: str) -> Job:
    needed = no_memory if place == "memory" else None
    return Job(f"small-{key}", title, role, "", partial(run, place=place), (), needed)


def no_memory() -> str | None:
    return None if MEMORY.is_dir() and filesystem(MEMORY) == "tmpfs" else f"{MEMORY} is no tmpfs: nothing is measured without fsync"


@dataclass(frozen=True)
class Many:
    """``images``: files to be imported. ``work``: an empty directory."""

    images: Sequence[Path]
    stores: Sequence[Path]
    work: Path

    @property
    def store_ids(self) -> list[str]:
        return [f"s{number}" for number in range(len(self.stores))]


@contextmanager
def laid_out(ground: Ground, place: str) -> Iterator[Many]:
    with tempfile.TemporaryDirectory(prefix="small-", dir=MEMORY if place == "memory" else ground.work()) as path:
        directories = [Path(path) / name for name in ("images", "work", *(f"store{number}" for number in range(STORES)))]
        for directory in directories:
            directory.mkdir()
        source, work, *stores = directories
        images = [source / str(number) for number in range(1 + count_of(ground))]
        for image in images:
            image.write_bytes(os.urandom(IMAGE))
        os.sync()
        yield Many(images, stores, work)


def run_transactions(ground: Ground, place: str) -> Sample:
    with laid_out(ground, place) as many:
        stores = [FileStore(store_id, path) for store_id, path in zip(many.store_ids, many.stores, strict=True)]

        async def one(image: Path) -> str:
            done = await transfer(TransferRequest(str(uuid.uuid4()), PathSource(image), stores))
            return done.verified.os_hash_value

        sample, digests = loop.run(_timed(many.images, one))
        return _checked(sample, many, digests)


def run_imports(ground: Ground, place: str) -> Sample:
    async def work(site: Site, images: Sequence[Path]) -> tuple[Sample, list[str]]:
        async def one(image: Path) -> str:
            request = ImportRequest(PathSource(image), disk_format="raw", all_stores=True)
            return (await import_image(site, request)).image.os_hash_value or ""

        try:
            return await _timed(images, one)
        finally:
            await site.close()

    with laid_out(ground, place) as many:
        sample, digests = loop.run(work(open_site(many.work, many.stores), many.images))
        return _checked(sample, many, digests)


def run_records(ground: Ground, place: str) -> Sample:
    """The records of such imports, none of which takes place."""

    async def work(site: Site, images: Sequence[Path]) -> Sample:
        try:
            sample, _ = await _timed(images, lambda _: record(site, IMAGE))
            require(len(site.catalogue.list_images()), len(images), "images recorded")
            return sample
        finally:
            await site.close()

    with laid_out(ground, place) as many:
        return loop.run(work(open_site(many.work, many.stores), many.images))


async def _timed(images: Sequence[Path], one: Callable[[Path], Awaitable[str]]) -> tuple[Sample, list[str]]:
    """What ``one`` gave for each image, in their order. The first is not timed: modules are imported once in a process."""
    room = asyncio.Semaphore(AT_ONCE)

    async def in_turn(image: Path) -> str:
        async with room:
            return await one(image)

    first = await one(images[0])
    watch = Watch()
    digests = await asyncio.gather(*map(in_turn, images[1:]))
    sample = watch.read()
    return replace(sample, values={RATE: len(digests) / sample.seconds}), [first, *digests]


WORK: tuple[tuple[str, str, Role, Callable[..., Sample]], ...] = (
    ("import", "whole imports", "ours", run_imports),
    ("transaction", "the transaction alone", "variant", run_transactions),
    ("records", "their records alone", "variant", run_records),
)


def _checked(sample: Sample, many: Many, digests: Sequence[str]) -> Sample:
    require(digests, [hashlib.sha512(image.read_bytes()).hexdigest() for image in many.images], "sha512")
    for store in many.stores:
        require([path.stat().st_size for path in store.iterdir()], [IMAGE] * len(many.images), f"sizes in {store}")
    return sample
