"""What a script has at hand: ``tee`` into a digest, and ``cp``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from compare.ground import Ground
from compare.job import Job
from compare.peers.peer import SOURCE, Copied, Copy, peer, targets
from glance_stream.benchmark.pipelines import DIGESTS, tee


def jobs() -> list[Job]:
    pipelines = [
        peer(
            f"tee-{key}",
            f"cat | tee | {' '.join(command)}",
            partial(teed, command=command),
            partial(missing, ("cat", "tee", command[0])),
        )
        for key, command in DIGESTS.items()
    ]
    return [*pipelines, peer("cp", "cp, 3 times, no hash", copied, partial(missing, ("cp",)))]


@contextmanager
def teed(ground: Ground, command: Sequence[str]) -> Iterator[Copy]:
    paths = targets(ground)
    yield lambda: Copied(paths, {"sha512": tee(ground.source(SOURCE), paths, command)})


@contextmanager
def copied(ground: Ground) -> Iterator[Copy]:
    """Where the file system can share blocks (reflink), cp copies nothing at all."""
    paths = targets(ground)

    def copy() -> Copied:
        for path in paths:
            subprocess.run(["cp", ground.source(SOURCE), path], check=True)
        return Copied(paths)

    yield copy


def missing(programs: Sequence[str]) -> str | None:
    absent = [program for program in programs if shutil.which(program) is None]
    return f"not compared with {programs[-1]}: {', '.join(absent)} not installed" if absent else None
