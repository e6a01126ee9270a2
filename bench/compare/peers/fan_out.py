"""What a good Python programmer writes in an hour: one reader, a thread for each file, hashlib on a thread of its own.

Reads, writes and ``update`` release the GIL, so the threads do run at once. Chunks of 1 MiB go through a bounded queue
to each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from compare.ground import Ground
from compare.job import Job
from compare.peers.peer import SOURCE, Copied, Copy, peer, targets

CHUNK = 1 << 20
DEPTH = 8  # chunks that a slow thread may be behind

Chunks = Queue[bytes | None]


def jobs() -> list[Job]:
    return [peer("fan-out", "Python threads: read once, hashlib", fanned_out)]


@contextmanager
def fanned_out(ground: Ground) -> Iterator[Copy]:
    paths = targets(ground)
    yield lambda: Copied(paths, {"sha512": fan_out(ground.source(SOURCE), paths)})


def fan_out(source: Path, targets: Sequence[Path], algorithm: str = "sha512") -> str:
    """Copy to all targets; the digest. Raises OSError of whatever failed first in the order of the targets."""
    digest = hashlib.new(algorithm)
    queues: list[Chunks] = [Queue(DEPTH) for _ in range(len(targets) + 1)]
    with ThreadPoolExecutor(len(queues)) as pool:
        jobs = [pool.submit(_write, target, queue) for target, queue in zip(targets, queues, strict=False)]
        jobs.append(pool.submit(_drain, queues[-1], digest.update))
        try:
            _read(source, queues)
        finally:
            for queue in queues:
                queue.put(None)
    for job in jobs:
        job.result()
    return digest.hexdigest()


def _read(source: Path, queues: Sequence[Chunks]) -> None:
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            for queue in queues:
                queue.put(chunk)


def _write(target: Path, queue: Chunks) -> None:
    try:
        with target.open("xb") as file:  # buffered: it writes all of a chunk, in one call
            _drain(queue, file.write)
    except OSError:
        _drain(queue, lambda chunk: None)  # or the reader would wait for room for ever
        raise


def _drain(queue: Chunks, take: Callable[[bytes], object]) -> None:
    while (chunk := queue.get()) is not None:
        take(chunk)
