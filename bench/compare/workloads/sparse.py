"""A raw disk, a tenth of it in use, into three thin file stores; and a disk that is nothing but zeros.

How fast zeros go is measured with the latter: of the time that the former takes nobody can tell how much was theirs.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from compare.floor import of_row
from compare.ground import Ground
from compare.job import Job, Watch, part, require
from compare.parts.digest import digest
from compare.result import Floor, Rows, Sample, Target, at_most
from compare.workload import Workload
from glance_stream import loop
from glance_stream.benchmark.measures import descriptor, sync_all
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import TransferRequest, transfer
from glance_stream.units import parse_size

STORES = 3
TIMES = 5  # the disk is so many times as large as the run's image: 10 GiB beside 2 GiB
SIZE_VARIABLE = "COMPARE_DISK"  # or as large as this says
BLOCK = 512  # what st_blocks counts in, whatever the file system's own block is
ROUNDS = 3  # a round takes half a minute
SPARE = 1 << 20  # bytes for lists of extents, which are a file system's own choice

NOTE = (
    "The target is the disk use of the fullest store beside the source's. MB/s count zeros too. "
    f"{SIZE_VARIABLE}=100GiB takes a larger disk."
)


def workloads() -> list[Workload]:
    title = f"a raw disk, a tenth of it in use, into {STORES} thin file stores, sha512"
    parts = [digest("sha512"), copying("sparse")]
    zeros = of_row(0.95, digest("sha512").key, "the digest's own rate")
    return [
        Workload("sparse", title, [thin("sparse"), *parts], disk_use_as_source, ground=disk, rounds=ROUNDS, notes=[NOTE]),
        Workload("zeros", f"nothing but zeros into {STORES} thin file stores, sha512", [thin("holes"), digest("sha512")], zeros),
    ]


def disk(ground: Ground) -> Ground:
    text = os.environ.get(SIZE_VARIABLE)
    return ground.sized(parse_size(text) if text else TIMES * ground.size)


def disk_use_as_source(rows: Rows, floor: Floor | None) -> Target | None:
    ours = rows.get(thin("sparse").key)
    return at_most("<= 1.02 of the source's disk use", 1.02, ours.value("disk_use")) if ours else None


def thin(source: str) -> Job:
    title = f"glance-stream, thin, {STORES} stores, sha512"
    return Job(f"ours-thin-{source}", title, "ours", "", partial(run_thin, source=source), (source,))


def run_thin(ground: Ground, source: str) -> Sample:
    """``disk_use``: of the fullest store, as a share of the source's."""
    wanted = ground.digest(source, "sha512")
    sample, found = loop.run(_timed(ground, source))
    require(found, wanted, "sha512")
    stored = [path for store in ground.stores(STORES) for path in store.iterdir()]
    require([path.stat().st_size for path in stored], [ground.size] * STORES, "sizes")
    return replace(sample, values={"disk_use": disk_use(ground.source(source), stored)})


async def _timed(ground: Ground, source: str) -> tuple[Sample, str]:
    stores = [FileStore(str(path), path) for path in ground.stores(STORES)]
    watch = Watch()
    done = await transfer(TransferRequest(str(uuid.uuid4()), PathSource(ground.source(source)), stores, thin=True))
    return watch.read(), done.verified.os_hash_value


def disk_use(source: Path, stored: list[Path]) -> float:
    """Of the fullest, as a share of the source's. Raises ValueError if something is stored of a source that holds nothing."""
    most = max(0, *(path.stat().st_blocks * BLOCK - SPARE for path in stored))
    held = source.stat().st_blocks * BLOCK
    if not held:
        require(most, 0, "bytes on the disk for nothing but zeros")
    return most / held if held else 0.0


def copying(source: str) -> Job:
    title = f"cp --sparse=auto, {STORES} at once, fsync"
    return part(f"cp-{source}", title, "store", partial(run_copies, source=source), source)


def run_copies(ground: Ground, source: str) -> Sample:
    """cp asks the file system where there is data, and reads and writes nothing else: no writer has less to do."""
    path = ground.source(source)
    targets = [store / "image" for store in ground.stores(STORES)]
    watch = Watch()
    copies = [subprocess.Popen(["cp", "--sparse=auto", "--reflink=never", str(path), str(target)]) for target in targets]
    codes = [copy.wait() for copy in copies]
    require(codes, [0] * STORES, "how cp ended")
    with ExitStack() as stack:
        sync_all([stack.enter_context(descriptor(target, os.O_RDONLY)) for target in targets])
    sample = watch.read()
    require([target.stat().st_size for target in targets], [path.stat().st_size] * STORES, "sizes")
    return sample
