"""Plain reads of a source, one after another into one small buffer: what the page cache gives."""

from __future__ import annotations

import os
from functools import partial

from compare.ground import Ground
from compare.job import Job, Watch, part, require
from compare.result import Sample
from glance_stream.benchmark.workload import read_through


def reading(source: str = "random") -> Job:
    return part(f"read-{source}", "plain reads of the source", "source", partial(run, source=source), source)


def run(ground: Ground, source: str) -> Sample:
    path = ground.source(source)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        watch = Watch()
        done = read_through(fd)
        sample = watch.read()
    finally:
        os.close(fd)
    require(done, path.stat().st_size, "bytes read")
    return sample
