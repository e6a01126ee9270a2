"""How far several runs of the same workloads lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from compare.report.lines import share, signs
from compare.result import Result, WorkloadResult


@dataclass(frozen=True)
class Spread:
    """Of one workload. Each sequence has a place for each run, None where it was not measured.

    seconds: the median of ours. shares: floor / ours. measured: what the target is about. reached: in how many runs, of how many.
    """

    title: str
    seconds: Sequence[float | None]
    shares: Sequence[float | None]
    measured: Sequence[float | None]
    limits: Sequence[str]
    text: str
    reached: tuple[int, int]


def in_order(results: Sequence[Result]) -> list[Result]:
    """The one begun last is the last, and the one whose plots are shown."""
    return sorted(results, key=lambda result: result.started)


def spreads(results: Sequence[Result]) -> list[Spread]:
    """Of each workload that any of the runs has, in the order in which they come up."""
    runs = [{workload.key: workload for workload in result.workloads} for result in results]
    keys = dict.fromkeys(key for run in runs for key in run)
    return [_spread([run.get(key) for run in runs]) for key in keys]


def _spread(runs: Sequence[WorkloadResult | None]) -> Spread:
    there = [run for run in runs if run is not None]
    targets = [run.target for run in there if run.target is not None]
    return Spread(
        title=there[-1].title,
        seconds=[run.ours.seconds if run and run.ours and run.ours.samples else None for run in runs],
        shares=[share(run) if run else None for run in runs],
        measured=[run.target.measured if run and run.target else None for run in runs],
        limits=list(dict.fromkeys(run.floor.limit for run in there if run.floor)),
        text=signs(targets[-1].text) if targets else "",
        reached=(sum(target.reached for target in targets), len(targets)),
    )


def middle(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None


def width(values: Sequence[float | None]) -> float | None:
    """From the least to the largest, as a part of the median; None for fewer than two."""
    found = [value for value in values if value is not None]
    centre = middle(found)
    return (max(found) - min(found)) / centre if len(found) > 1 and centre else None
