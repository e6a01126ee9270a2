"""Our engine alone: from the page cache through the ring, with zero scan and fingerprints, to lanes that discard."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path

from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.result import Role, Sample
from glance_stream.benchmark.measures import descriptor, pour
from glance_stream.chunker import Ring, WriteLane


def engine(lanes: int = 0, role: Role = "ours") -> Job:
    title = (
        f"engine, {lanes} lane{'' if lanes == 1 else 's'} that discard{'s' if lanes == 1 else ''}" if lanes else "engine, no lane"
    )
    return Job(f"engine-{lanes}", title, role, "", partial(run, lanes=lanes))


def run(ground: Ground, lanes: int, beside: Callable[[], AbstractContextManager[None]] = nullcontext) -> Sample:
    """The ring's memory is new, as in every import. A lane is native and writes to /dev/null."""
    path = ground.source("random")
    with ExitStack() as stack:
        source = stack.enter_context(descriptor(path, os.O_RDONLY))
        nowhere = [stack.enter_context(descriptor(Path(os.devnull), os.O_WRONLY)) for _ in range(lanes)]
        stack.enter_context(beside())
        watch = Watch()
        ring = Ring()
        pour(source, ring, [WriteLane(ring, fd, direct=False).run for fd in nowhere])
        sample = watch.read()
    require(ring.produced, path.stat().st_size, "bytes through the ring")
    return sample
