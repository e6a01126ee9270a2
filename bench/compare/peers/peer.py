"""How every peer is timed and checked: the same source into three directories, then made as durable as our pass leaves it."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from compare.cached import DURABLE, with_early
from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.result import Sample
from glance_stream.benchmark.measures import sync_files
from glance_stream.benchmark.peak import peak_bytes

SOURCE = "random"
STORES = 3


@dataclass(frozen=True)
class Copied:
    """What a peer made. ``digests``: what it computed, by algorithm. ``values``: further figures.

    ``user``, ``system``: CPU of processes that go on running. ``peak_bytes``: the largest process that is not our child.
    """

    files: Sequence[Path]
    digests: dict[str, str] = field(default_factory=dict)
    user: float = 0.0
    system: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


Copy = Callable[[], Copied]
# Sets up what is not timed, and takes it down.
Ready = Callable[[Ground], AbstractContextManager[Copy]]


def peer(key: str, title: str, ready: Ready, unavailable: Callable[[], str | None] | None = None) -> Job:
    """One job for two rows (compare/cached.py): as the peer leaves its files, and when they are durable. title: 36 characters."""
    return Job(key, title + DURABLE, "peer", "", partial(run, ready=ready), (SOURCE,), unavailable)


def run(ground: Ground, ready: Ready) -> Sample:
    """Raises ValueError if a file has another size than the source, or a digest is another."""
    size = ground.source(SOURCE).stat().st_size
    with ready(ground) as copy:
        watch = Watch()
        copied = copy()
        cached = watch.read()
        sync_files(copied.files)
        durable = watch.read()
    require([path.stat().st_size for path in copied.files], [size] * STORES, "sizes")
    for algorithm, found in copied.digests.items():
        require(found, ground.digest(SOURCE, algorithm), algorithm)
    sample = with_early(_with_cpu_of(copied, durable), _with_cpu_of(copied, cached))
    return msgspec.structs.replace(sample, peak_bytes=max(copied.peak_bytes, _largest_process()))


def _with_cpu_of(copied: Copied, sample: Sample) -> Sample:
    user, system = sample.user + copied.user, sample.system + copied.system
    return msgspec.structs.replace(sample, user=user, system=system, values=copied.values)


def _largest_process() -> int:
    """Bytes at its peak: ours or that of a child that has ended. What takes less than we do is hidden by us."""
    return max(peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def targets(ground: Ground, name: str = "copy") -> list[Path]:
    return [store / name for store in ground.stores(STORES)]
