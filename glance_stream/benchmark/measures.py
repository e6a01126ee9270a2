"""The pass and its parts alone, each timed once on the same source.

What is set up before the watch starts (descriptors, the parts' rings) favours the parts: the pass pays for all of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from glance_stream import loop
from glance_stream.benchmark.places import Place
from glance_stream.benchmark.stopwatch import Sample, Stopwatch
from glance_stream.benchmark.workload import read_through
from glance_stream.chunker import DigestLane, Ring, WriteLane
from glance_stream.errors import DigestMismatch, StoreUnavailable
from glance_stream.model import DEFAULT_HASH_ALGO
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.threads import THREADS
from glance_stream.transfer import TransferRequest, transfer


@dataclass
class Bench:
    """What the parts have in common. ``digest``: of the source, by the first part that computed it."""

    source: Path
    size: int
    places: Sequence[Place]
    digest: str | None = None

    def agree(self, digest: str) -> None:
        """A fast part that hashed something else measured something else. Raises DigestMismatch."""
        self.digest = self.digest or digest
        if digest != self.digest:
            raise DigestMismatch(f"two parts of the benchmark read different bytes: {digest} is not {self.digest}")


# Times one piece of work; some give more than one sample of it.
Part = Callable[[Bench], dict[str, Sample]]


def read_source(bench: Bench) -> dict[str, Sample]:
    """Plain reads into one buffer: what the page cache gives."""
    with descriptor(bench.source, os.O_RDONLY) as fd:
        watch = Stopwatch()
        read_through(fd)
        return {"source": watch.read()}


def read_through_ring(bench: Bench) -> dict[str, Sample]:
    """Reading, zero scan and fingerprints with nobody listening: what the next two measures both contain."""
    ring = Ring()
    with descriptor(bench.source, os.O_RDONLY) as fd:
        watch = Stopwatch()
        pour(fd, ring, [])
        return {"ring": watch.read()}


def digest_alone(bench: Bench) -> dict[str, Sample]:
    """One digest pass, with reading on another thread: no pass that makes this digest on one core can be faster."""
    ring = Ring()
    lane = DigestLane(ring, DEFAULT_HASH_ALGO)
    with descriptor(bench.source, os.O_RDONLY) as fd:
        watch = Stopwatch()
        pour(fd, ring, [lane.run])
        sample = watch.read()
    bench.agree(lane.hexdigest())
    return {"digest": sample}


def write_alone(bench: Bench) -> dict[str, Sample]:
    """The fastest writer we have to all directories at once, and fsync; no digest, no names, no records."""
    ring = Ring()
    paths = [place.work / "written" for place in bench.places]
    with ExitStack() as stack:
        source = stack.enter_context(descriptor(bench.source, os.O_RDONLY))
        fds = [stack.enter_context(descriptor(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)) for path in paths]
        lanes = [WriteLane(ring, fd) for fd in fds]
        watch = Stopwatch()
        pour(source, ring, [lane.run for lane in lanes])
        sync_all(fds)
        sample = watch.read()
    for place, path, lane in zip(bench.places, paths, lanes, strict=True):
        place.mode = lane.mode
        require_size(path, bench.size)
    return {"stores": sample}


def whole_pass(bench: Bench) -> dict[str, Sample]:
    """What the product does, from the request to the durable commit in every store."""
    sample, digest = loop.run(transfer_and_delete(bench.source, [place.work for place in bench.places]))
    bench.agree(digest)
    return {"pass": sample}


async def transfer_and_delete(source: Path, directories: Sequence[Path]) -> tuple[Sample, str]:
    """The time of the transfer, and the digest; deleting the image again is not in the time."""
    stores = [FileStore(str(path), path) for path in directories]
    watch = Stopwatch()
    done = await transfer(TransferRequest(str(uuid.uuid4()), PathSource(source), stores))
    sample = watch.read()
    for store in stores:
        await store.delete(done.locations[store.store_id])
    return sample, done.verified.os_hash_value


PARTS: dict[str, Part] = {
    "source": read_source,
    "ring": read_through_ring,
    "digest": digest_alone,
    "stores": write_alone,
    "pass": whole_pass,
}


def pour(fd: int, ring: Ring, lanes: Iterable[Callable[[], None]]) -> None:
    """Run all of ``fd`` through the ring, each lane on its thread, in a way that Ctrl-C can end."""

    def fill() -> None:
        ring.fill_fd(fd)
        ring.finish()

    together([*lanes, fill], ring.fail)


def sync_all(fds: Sequence[int]) -> None:
    """Make files durable, all at once: they may be on different disks."""
    together([partial(os.fsync, fd) for fd in fds], lambda: None)


def sync_files(paths: Sequence[Path]) -> None:
    """The same for files that others wrote."""
    with ExitStack() as stack:
        sync_all([stack.enter_context(descriptor(path, os.O_RDONLY)) for path in paths])


def together(jobs: Sequence[Callable[[], None]], stop: Callable[[], None]) -> None:
    """Run jobs at once. The first failure, or Ctrl-C, stops the rest and is raised when all have ended."""
    futures: list[Future[None]] = [THREADS.submit(job) for job in jobs]
    try:
        for done in wait(futures, return_when=FIRST_EXCEPTION).done:
            done.result()
    except BaseException:
        stop()
        wait(futures)  # nobody may close a descriptor that a thread still writes to
        raise


@contextmanager
def descriptor(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def require_size(path: Path, size: int) -> None:
    """A fast write that wrote less is not fast."""
    if (held := path.stat().st_size) != size:
        raise StoreUnavailable("bench", f"{path} holds {held} bytes, not {size}")
