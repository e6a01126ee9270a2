"""A result as plain text of at most 120 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from compare.floor import SENTENCES
from compare.result import Floor, Result, Row, Target, WorkloadResult

WIDTH = 120
NAME = 54
COLUMN = 9
RATE, PEAK = "MB/s", "peak MB"  # the second where memory is what a workload is about
HEADINGS = ("median s", "min", "max", RATE, "CPU s", "x floor", "x ours")
ROLES = {"ours": "*", "part": "-", "variant": " ", "peer": " "}


def render(result: Result) -> str:
    """Ends with a line break."""
    sections = [_head(result), *map(_workload, result.workloads), _targets(result), _foot()]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _head(result: Result) -> Iterator[str]:
    machine = result.machine
    core = "compiled core" if machine["compiled"] else "slow Python twin, NOT the compiled core"
    yield f"{result.size / 1e6:,.0f} MB, {result.rounds} rounds, {result.started}"
    yield from _wrapped(
        "Machine", f"{machine['cores']} cores, {machine['cpu']}, Linux {machine['kernel']}, {machine['filesystem']}"
    )
    yield from _wrapped("Software", f"Python {machine['python']}, {machine['openssl']}, {core}")
    for note in result.notes:
        yield from _wrapped("Note", note)


def _workload(workload: WorkloadResult) -> Iterator[str]:
    yield f"{workload.key}: {workload.title}" + (f" ({workload.size / 1e6:,.1f} MB)" if workload.size else "")
    headings = [PEAK if name == RATE and workload.shows == "peak" else name for name in HEADINGS]
    yield " " * NAME + "".join(name.rjust(COLUMN) for name in headings)
    for row in workload.rows:
        yield from _row(row, workload)
    if workload.floor:
        yield from _floor(workload.floor)
    if workload.target:
        yield from _wrapped("Target", target(workload.target))
    for label, texts in (("Note", workload.notes), ("FAILED", workload.failed)):
        for text in texts:
            yield from _wrapped(label, text)


def _row(row: Row, workload: WorkloadResult) -> Iterator[str]:
    times = [sample.seconds for sample in row.samples]
    figures = "".join(_seconds(value).rjust(COLUMN) for value in (row.seconds, min(times), max(times)))
    floor = _ratio(row.seconds, workload.floor.seconds if workload.floor else None)
    ours = _ratio(row.seconds, workload.ours.seconds if workload.ours else None)
    yield (
        f"{ROLES[row.role]} {row.title[: NAME - 4]}".ljust(NAME)
        + f"{figures}{_amount(row, workload)}{_seconds(row.cpu).rjust(COLUMN)}{floor}{ours}"
    )
    for name in row.samples[0].values:
        yield f"    {name.replace('_', ' ')}: {row.value(name):,.6g}"


def _amount(row: Row, workload: WorkloadResult) -> str:
    if workload.shows == "peak":
        return f"{max(sample.peak_bytes for sample in row.samples) / 1e6:{COLUMN},.1f}"
    return f"{workload.size / row.seconds / 1e6:{COLUMN},.0f}" if workload.size else " " * COLUMN


def _ratio(seconds: float, base: float | None) -> str:
    return f"{seconds / base:{COLUMN}.2f}" if base else " " * COLUMN


def _floor(floor: Floor) -> Iterable[str]:
    bounds = ", ".join(f"{name} {_seconds(seconds)}" for name, seconds in floor.bounds.items())
    yield from _wrapped("Floor", f"{_seconds(floor.seconds)} s, the longest of {bounds}")
    yield from _wrapped("Limit", f"{floor.limit}: {SENTENCES[floor.limit]}")


def target(target: Target) -> str:
    """As a sentence."""
    return f"{target.text}: {target.measured:.4g}, {'reached' if target.reached else 'NOT reached'}"


def _targets(result: Result) -> Iterator[str]:
    """All at one glance."""
    yield "Targets"
    for workload in result.workloads:
        if workload.target:
            limit = f", limit: {workload.floor.limit}" if workload.floor else ""
            yield f"  {workload.key:20}{target(workload.target)}{limit}"


def _foot() -> Iterator[str]:
    yield "*: ours. -: a part alone, for the floor. x floor, x ours: how many times as long as it takes. MB are 1,000,000 bytes."


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:.1f}"


def _wrapped(label: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=f"  {label:9}", subsequent_indent=" " * 11)
