"""All jobs, each once a round, so that a machine that changes its pace meanwhile changes it for all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from compare import measure
from compare.ground import Ground
from compare.job import Job
from compare.measure import JobFailed
from compare.result import Sample
from compare.sources import made, warm
from compare.workload import Workload

Say = Callable[[str], None]
# A job is the same one where it has the same key and the same ground.
Place = tuple[str, Ground]


@dataclass
class Measured:
    """``samples``: of what went well, by key and ground. ``failed``: what a job said that failed; it is not run again.

    interrupted: by Ctrl-C or SIGTERM, so that rounds are missing.
    """

    samples: dict[Place, list[Sample]] = field(default_factory=dict)
    failed: dict[Place, str] = field(default_factory=dict)
    interrupted: bool = False


def measure_all(workloads: Iterable[Workload], ground: Ground, rounds: int, say: Say) -> Measured:
    """Every job of the workloads; those of the same key and ground once a round. What was written is gone at the end."""
    jobs, most = _planned(workloads, ground, rounds)
    found = Measured()
    started = time.monotonic()
    try:
        for round_ in range(rounds):
            order = [at for at in turned(list(jobs), round_, rounds) if round_ < most[at]]
            for number, at in enumerate(order):
                if at not in found.failed:
                    done = (round_ + number / len(order)) / rounds
                    say(f"round {round_ + 1} of {rounds}, {number + 1} of {len(order)}: {jobs[at].title}{_left(started, done)}")
                    _once(jobs[at], at, found)
    except KeyboardInterrupt:  # what was measured until now may have taken a quarter of an hour
        found.interrupted = True
    return found


def _planned(workloads: Iterable[Workload], ground: Ground, rounds: int) -> tuple[dict[Place, Job], dict[Place, int]]:
    """The jobs, and in how many rounds each of them is run: in as many as the workload wants that wants it most often."""
    jobs: dict[Place, Job] = {}
    most: dict[Place, int] = {}
    for workload in workloads:
        place = workload.ground(ground)
        for job in workload.jobs:
            jobs[job.key, place] = job
            most[job.key, place] = max(most.get((job.key, place), 0), min(rounds, workload.rounds or rounds))
    return jobs, most


def turned(places: Sequence[Place], round_: int, rounds: int) -> list[Place]:
    """Each round begins elsewhere, and every other one goes backwards: nothing always follows the same other thing, whose
    write-back or freed memory it would inherit; but what belongs to one workload stays near in time."""
    start = len(places) * round_ // rounds
    order = [*places[start:], *places[:start]]
    return order[::-1] if round_ % 2 else order


def _once(job: Job, at: Place, found: Measured) -> None:
    ground = at[1]
    clear(ground)
    warm(made(ground, name) for name in job.sources)
    try:
        sample = measure.run(job, ground)
        found.samples.setdefault(at, []).append(sample)
    except JobFailed as error:
        found.samples.pop(at, None)
        found.failed[at] = str(error)
    finally:
        clear(ground)


def clear(ground: Ground) -> None:
    """Remove what a job wrote and wait until the disk is quiet: the next one must not pay for it."""
    for path in (ground.root / "stores", ground.root / "work"):
        shutil.rmtree(path, ignore_errors=True)
    os.sync()


def _left(started: float, done: float) -> str:
    """Nothing in the first tenth, when it would be a guess."""
    if done < 0.1:
        return ""
    minutes = (time.monotonic() - started) * (1 - done) / done / 60
    return f" (about {minutes:.0f} min left)" if minutes >= 1 else " (about a minute left)"
