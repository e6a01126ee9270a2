"""A whole run: prepare, measure, and put the figures together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from compare.cached import both
from compare.floor import floor_of
from compare.ground import Ground
from compare.result import Result, Row, WorkloadResult
from compare.rounds import Measured, Say, measure_all
from compare.sources import made
from compare.workload import Workload
from glance_stream.benchmark import machine
from glance_stream.benchmark.noise import Noise


def compare(workloads: Sequence[Workload], ground: Ground, rounds: int, say: Say) -> Result:
    """What can't be run here, or fails, becomes a note; everything else is measured."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    reasons = _unavailable(workloads, say)
    chosen = [_without(workload, reasons) for workload in workloads]
    _prepare(chosen, ground, say)
    noise = Noise()
    measured = measure_all(chosen, ground, rounds, say)
    interrupted = ["interrupted: rounds are missing"] if measured.interrupted else []
    notes = [*interrupted, *machine.memory_notes(ground.size), *noise.notes()]
    facts = machine.facts()
    results = [_result(workload, ground, measured, facts["cores"]) for workload in chosen]
    if measured.interrupted:
        results = [result for result in results if result.rows]
    facts |= {"filesystem": machine.filesystem(ground.root)}
    return Result(facts, notes, ground.size, rounds, started, results, measured.interrupted)


def _unavailable(workloads: Iterable[Workload], say: Say) -> dict[str, str]:
    """Why what can't be run here can't, by key."""
    asked = {job.key: job.unavailable for workload in workloads for job in workload.jobs if job.unavailable is not None}
    reasons = {}
    for key, unavailable in asked.items():
        say(f"looking for what {key} needs")
        if reason := unavailable():
            reasons[key] = reason
    return reasons


def _without(workload: Workload, reasons: Mapping[str, str]) -> Workload:
    missing = dict.fromkeys(reasons[job.key] for job in workload.jobs if job.key in reasons)
    jobs = [job for job in workload.jobs if job.key not in reasons]
    return replace(workload, jobs=jobs, notes=[*workload.notes, *missing])


def _prepare(workloads: Iterable[Workload], ground: Ground, say: Say) -> None:
    for workload in workloads:
        place = workload.ground(ground)
        for name in dict.fromkeys(name for job in workload.jobs for name in job.sources):
            if not place.source(name).exists():
                say(f"making the source {name}")
                made(place, name)


def _result(workload: Workload, ground: Ground, measured: Measured, cores: int) -> WorkloadResult:
    place = workload.ground(ground)
    made_of = [(job, samples) for job in workload.jobs if (samples := measured.samples.get((job.key, place)))]
    rows = {row.key: row for job, samples in made_of for row in both(Row(job.key, job.title, job.role, job.kind, samples))}
    floor = floor_of(rows.values(), cores)
    return WorkloadResult(
        workload.key,
        workload.title,
        workload.size(place),
        list(rows.values()),
        floor,
        workload.target(rows, floor) if workload.target else None,
        [*workload.notes, *(workload.remarks(rows) if workload.remarks else [])],
        [text for job in workload.jobs if (text := measured.failed.get((job.key, place)))],
        workload.shows,
    )
