"""What is measured beside what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compare.ground import Ground
from compare.job import Job
from compare.result import Rows, Shown, TargetRule


def run_size(ground: Ground) -> int:
    return ground.size


def same_ground(ground: Ground) -> Ground:
    return ground


@dataclass(frozen=True)
class Workload:
    """One line of the question "how near is it to what the machine can do?".

    key: a short word for ``--only``. jobs: in the order of the table; exactly one has the role "ours". Their parts make the floor
    (compare/floor.py); none: no floor.

    size: the bytes that MB/s are counted in, asked when the sources are there. target: None if nothing is to be reached.

    ground: which ground its jobs run on, if not the run's own: ``lambda ground: ground.sized(1 << 30)``. Jobs of one key are shared
    between workloads of one ground only.

    peers: it is there for the peers' sake (compare/peers) and left out where none of them is run. rounds: at most so many, where a
    round takes long.

    notes: what a reader of these rows must know. remarks: what is to be said of the measured rows, given them by key.

    shows: what its plot is of, where it is not about time.
    """

    key: str
    title: str
    jobs: Sequence[Job]
    target: TargetRule | None = None
    size: Callable[[Ground], int] = run_size
    ground: Callable[[Ground], Ground] = same_ground
    peers: bool = False
    rounds: int | None = None
    notes: Sequence[str] = ()
    remarks: Callable[[Rows], list[str]] | None = None
    shows: Shown = "seconds"
