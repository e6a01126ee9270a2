"""Eight imports at once in one process, each into a store of its own: together as fast as the cores hash or the disk writes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from compare.floor import of_floor
from compare.ground import Ground
from compare.job import Job, Watch, part, require
from compare.parts.writers import BLOCK, writers
from compare.result import Sample
from compare.workload import Workload
from glance_stream import loop
from glance_stream.benchmark.measures import descriptor, together
from glance_stream.benchmark.workload import read_through
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import TransferRequest, transfer

IMPORTS = 8
BUFFER = 4 << 20


def workloads() -> list[Workload]:
    jobs = [
        Job("ours-concurrent", f"glance-stream, {IMPORTS} at once", "ours", "", run_imports, ("random",)),
        part("read-concurrent", f"plain reads, {IMPORTS} at once", "source", run_reads, "random"),
        part("digest-concurrent", f"sha512 in memory, {IMPORTS} at once", "digest", run_digests, "random"),
        *writers(IMPORTS),
    ]
    title = f"{IMPORTS} imports at once, an eighth of the image and one file store each, sha512"
    return [Workload("concurrent", title, jobs, of_floor(0.95), size=lambda ground: IMPORTS * ground.size, ground=eighth)]


def eighth(ground: Ground) -> Ground:
    return ground.sized(max(ground.size // IMPORTS, BLOCK))


def run_imports(ground: Ground) -> Sample:
    wanted = ground.digest("random", "sha512")
    stores = ground.stores(IMPORTS)
    sample, digests = loop.run(_timed(ground.source("random"), stores))
    require(digests, [wanted] * IMPORTS, "sha512")
    for store in stores:
        require([path.stat().st_size for path in store.iterdir()], [ground.size], f"sizes in {store}")
    return sample


async def _timed(source: Path, places: list[Path]) -> tuple[Sample, list[str]]:
    stores = [FileStore(str(place), place) for place in places]
    watch = Watch()
    done = await asyncio.gather(*(transfer(TransferRequest(str(uuid.uuid4()), PathSource(source), [store])) for store in stores))
    return watch.read(), [one.verified.os_hash_value for one in done]


def run_reads(ground: Ground) -> Sample:
    def read() -> None:
        with descriptor(ground.source("random"), os.O_RDONLY) as fd:
            require(read_through(fd), ground.size, "bytes read")

    return _at_once(read)


def run_digests(ground: Ground) -> Sample:
    """Without the interpreter's lock, as hashlib gives it away for anything that takes long."""
    buffer = memoryview(os.urandom(min(BUFFER, ground.size)))

    def digest() -> None:
        found = hashlib.sha512()
        for left in range(ground.size, 0, -len(buffer)):
            found.update(buffer[:left])
        found.digest()

    return _at_once(digest)


def _at_once(work: Callable[[], None]) -> Sample:
    watch = Watch()
    together([work] * IMPORTS, stop=lambda: None)
    return watch.read()
