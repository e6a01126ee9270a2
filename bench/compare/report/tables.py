"""The tables of a report, as text cells: a page and a Markdown file show the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compare.report.lines import Line, amount, lines, scores
from compare.report.spread import Spread, middle, spreads, width
from compare.result import Floor, Result, WorkloadResult

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """``words``: how many columns at the left are text; those behind them are figures."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def overview(result: Result) -> Table:
    """What was asked of each workload, and what was reached."""
    known = {workload.key: workload for workload in result.workloads}
    rows = []
    for score in scores(result):
        workload = known[score.key]
        verdict = NOTHING if score.reached is None else "yes" if score.reached else "no"
        seconds = amount(workload.ours.seconds) if workload.ours and workload.ours.samples else NOTHING
        floor = amount(workload.floor.seconds) if workload.floor else NOTHING
        measured = NOTHING if score.measured is None else f"{score.measured:.2f}" if score.is_share else amount(score.measured)
        rows.append((score.title, score.limit or NOTHING, score.text or NOTHING, seconds, floor, measured, verdict))
    heads = ("workload", "limited by", "target", "ours, s", "floor, s", "measured", "reached")
    return Table("Each workload beside its target", heads, rows, words=3)


def of_workload(workload: WorkloadResult) -> Table:
    """All rows that were measured."""
    heads = ("", "is", "median, s", "fastest", "slowest", "rate", "CPU, s", "peak, MiB", "x ours")
    return Table(workload.title, heads, [_cells(line) for line in lines(workload)], words=2)


def _cells(line: Line) -> tuple[str, ...]:
    role = f"part: {line.kind}" if line.role == "part" and line.kind else line.role
    times = amount(line.times) if line.times is not None else NOTHING
    peak = f"{line.peak_bytes / 2**20:,.0f}" if line.peak_bytes else NOTHING
    seconds = [amount(value) for value in (line.seconds, line.low, line.high)]
    return (line.title, role, *seconds, line.rate or NOTHING, amount(line.cpu), peak, times)


def bounds(floor: Floor) -> Table:
    """What the floor is the longest of."""
    longest_first = sorted(floor.bounds.items(), key=lambda bound: -bound[1])
    return Table("The bounds of the floor", ("bound", "s"), [(name, amount(seconds)) for name, seconds in longest_first])


def further(workload: WorkloadResult) -> Table:
    """What rows told beside their times."""
    found = [
        (line.title, name.replace("_", " "), f"{value:,.6g}") for line in lines(workload) for name, value in line.further.items()
    ]
    return Table("Further figures, medians", ("", "figure", "value"), found, words=2)


def spread(results: Sequence[Result]) -> Table:
    """Of each run its medians, and how far they lie apart."""
    runs = [f"run {number}, s" for number, _ in enumerate(results, 1)]
    heads = ("workload", "limited by", "target", *runs, "median, s", "apart", "measured", "reached")
    return Table(f"{len(results)} runs: the medians of ours", heads, [tuple(_spread(one)) for one in spreads(results)], words=3)


def _spread(one: Spread) -> Iterator[str]:
    yield one.title
    yield ", ".join(one.limits) or NOTHING
    yield one.text or NOTHING
    for seconds in (*one.seconds, middle(one.seconds)):
        yield amount(seconds) if seconds is not None else NOTHING
    apart = width(one.seconds)
    yield f"{apart:.1%}" if apart is not None else NOTHING
    yield _range(one.measured if middle(one.measured) is not None else one.shares)
    yield f"{one.reached[0]} of {one.reached[1]}" if one.reached[1] else NOTHING


def _range(values: Sequence[float | None]) -> str:
    found = sorted(value for value in values if value is not None)
    ends = dict.fromkeys(amount(value) for value in found[:1] + found[-1:])
    return " to ".join(ends) or NOTHING
