"""A result as plots and tables show it: medians and extremes of each row, rates, and what was asked beside what was reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from compare.floor import SENTENCES
from compare.result import Floor, Result, Row, Sample, Shown, WorkloadResult

PER_SECOND = "_per_second"


@dataclass(frozen=True)
class Quantity:
    """What a plot is of. ``axis``: its name there. ``unit``: at the end of a bar."""

    axis: str
    unit: str
    of: Callable[[Sample], float]


QUANTITIES: Mapping[Shown, Quantity] = {
    "seconds": Quantity("seconds", "s", lambda sample: sample.seconds),
    "cpu": Quantity("CPU seconds, user and system", "s of CPU", lambda sample: sample.cpu),
    "peak": Quantity("MiB at the peak, the whole process", "MiB", lambda sample: sample.peak_bytes / 2**20),
}


@dataclass(frozen=True)
class Bar:
    """Median and extremes of the quantity that a plot is of."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A row over its rounds: medians, and the extremes of its seconds.

    times: how many times as long as ours it took. further: what else it told, by name.
    """

    title: str
    role: str
    kind: str
    seconds: float
    low: float
    high: float
    rate: str
    cpu: float
    peak_bytes: int
    times: float | None
    further: dict[str, float]
    bar: Bar


@dataclass(frozen=True)
class Score:
    """``measured`` beside ``bound``, which it must reach from below or, where ``most``, not exceed."""

    key: str
    title: str
    measured: float | None
    bound: float | None
    most: bool
    reached: bool | None
    limit: str
    text: str

    @property
    def is_share(self) -> bool:
        """A part of a whole that is to be large, such as floor / ours, and not a figure with a unit."""
        return self.bound is None or (not self.most and self.bound < 1)


def share(workload: WorkloadResult) -> float | None:
    """Floor / ours: 1 is as fast as the slowest part alone."""
    row = workload.ours
    if row is None or workload.floor is None or not row.samples:
        return None
    return workload.floor.seconds / row.seconds if row.seconds else None


def lines(workload: WorkloadResult) -> list[Line]:
    """Rows that were measured: ours and what does the same work, the least first; then the parts, the most first."""
    row = workload.ours
    base = row.seconds if row is not None and row.samples else None
    quantity = QUANTITIES[workload.shows]
    found = [_line(row, workload.size, base, quantity) for row in workload.rows if row.samples]
    passes = sorted((line for line in found if line.role != "part"), key=lambda line: line.bar.middle)
    return passes + sorted((line for line in found if line.role == "part"), key=lambda line: -line.bar.middle)


def _line(row: Row, size: int, base: float | None, quantity: Quantity) -> Line:
    times = [sample.seconds for sample in row.samples]
    shown = [quantity.of(sample) for sample in row.samples]
    return Line(
        title=row.title,
        role=row.role,
        kind=row.kind,
        seconds=row.seconds,
        low=min(times),
        high=max(times),
        rate=rate(row, size),
        cpu=row.cpu,
        peak_bytes=max(sample.peak_bytes for sample in row.samples),
        times=row.seconds / base if base else None,
        further={name: _value(row, name) for name in sorted(row.samples[0].values)},
        bar=Bar(median(shown), min(shown), max(shown)),
    )


def rate(row: Row, size: int) -> str:
    """Of the row's own unit where its samples name one (``images_per_second``), else MB/s of the image; nothing without a size."""
    units = sorted(key for key in row.samples[0].values if key.endswith(PER_SECOND))
    if units:
        return f"{amount(_value(row, units[0]))} {units[0].removesuffix(PER_SECOND).replace('_', ' ')}/s"
    return f"{amount(size / row.seconds / 1e6)} MB/s" if size and row.seconds else ""


def _value(row: Row, name: str) -> float:
    """Of the rounds that have it."""
    return median(sample.values[name] for sample in row.samples if name in sample.values)


def limited_by(floor: Floor) -> str:
    """The limiting part, and what would help."""
    return f"{floor.limit}: {SENTENCES[floor.limit]}" if floor.limit in SENTENCES else floor.limit


def amount(value: float) -> str:
    """Three digits that count, and never an exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def printable(text: str) -> str:
    """On one line; control characters and halves of surrogate pairs, which are neither XML nor HTML nor glyphs, are replaced."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text)


def signs(text: str) -> str:
    """What programs write in ASCII as readers know it."""
    return text.replace(">=", "≥").replace("<=", "≤")


def scores(result: Result) -> list[Score]:
    """Of the workloads that have a floor or a target, in the order of the result."""
    return list(_scores(result.workloads))


def _scores(workloads: Sequence[WorkloadResult]) -> Iterator[Score]:
    for workload in workloads:
        target, limit = workload.target, workload.floor.limit if workload.floor else ""
        if target is not None:
            most = target.at_least is None
            bound = target.at_most if most else target.at_least
            yield Score(workload.key, workload.title, target.measured, bound, most, target.reached, limit, signs(target.text))
        elif workload.floor is not None:
            yield Score(workload.key, workload.title, share(workload), None, False, None, limit, "")
