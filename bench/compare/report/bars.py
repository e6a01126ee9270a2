"""One workload: a bar for each row, whiskers from its fastest to its slowest round, and the floor as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.report import style
from compare.report.lines import Line, amount
from compare.result import Floor, WorkloadResult

STEP = 23  # points from bar to bar
HEAD, FOOT = 62, 40
GAP = 6  # points from the end of a whisker to its label


@dataclass(frozen=True)
class Entry:
    """A place on the y axis: a heading, where there is no line, or a bar."""

    name: str
    line: Line | None = None


def figure(workload: WorkloadResult, lines: Sequence[Line]) -> Figure:
    entries = _entries(lines, workload.floor)
    height = HEAD + FOOT + STEP * len(entries)
    drawing = Figure(figsize=(style.WIDTH / 72, height / 72), facecolor=style.PAGE)
    wide = style.WIDTH - style.LEFT - style.RIGHT
    axes = drawing.add_axes((style.LEFT / style.WIDTH, FOOT / height, wide / style.WIDTH, STEP * len(entries) / height))
    axes.set_facecolor(style.PAGE)
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.set_xlim(0, _reach(entries, workload.floor, wide))
    for place, entry in enumerate(entries):
        if entry.line is not None:
            _bar(axes, place, entry.line, workload.floor)
    if workload.floor is not None:
        _floor_line(axes, workload.floor)
    _names(axes, entries)
    style.heading(drawing, workload.title, _subtitle(workload, lines))
    axes.set_xlabel("seconds")
    return drawing


def in_words(line: Line) -> str:
    return f"{line.title} ({line.role}): {_label(line, None)}"


def _label(line: Line, floor: Floor | None) -> str:
    """What stands at the end of a bar."""
    beside = ""
    if line.role == "ours" and floor is not None and line.seconds:
        beside = f"{floor.seconds / line.seconds:.2f} of floor"
    elif line.role in ("peer", "variant") and line.times is not None:
        beside = f"{amount(line.times)} x ours"
    return " · ".join(text for text in (f"{amount(line.seconds)} s", line.rate, beside) if text)


def _entries(lines: Sequence[Line], floor: Floor | None) -> list[Entry]:
    """Both groups with their headings; what CPU alone would take is a bound that no row measures."""
    passes = [Entry(line.title, line) for line in lines if line.role != "part"]
    parts = [Entry(line.title, line) for line in lines if line.role == "part"]
    if floor is not None and "cpu" in floor.bounds:
        cpu = floor.bounds["cpu"]
        title = "CPU of the parts / cores"
        parts.append(Entry(title, Line(title, "part", "cpu", cpu, cpu, cpu, "", 0.0, 0, None, {})))
        parts.sort(key=lambda entry: -entry.line.seconds if entry.line else 0.0)
    if parts and passes:
        return [Entry("the same work"), *passes, Entry("its parts, each alone"), *parts]
    return passes + parts


def _reach(entries: Sequence[Entry], floor: Floor | None, wide: float) -> float:
    """The end of the x axis: each label must fit behind its bar, and behind the floor where it would lie on it."""
    least = floor.seconds if floor is not None else 0.0
    found = [least * 1.05]
    for entry in entries:
        if entry.line is not None:
            free = max(0.3, 1 - (style.text_width(_label(entry.line, floor)) + 2 * GAP) / wide)
            found.append(max(entry.line.high, least) / free)
    return max(found) or 1.0


def _bar(axes: Axes, place: int, line: Line, floor: Floor | None) -> None:
    axes.barh(place, line.seconds, height=0.62, color=style.ROLES.get(line.role, style.PEER), linewidth=0)
    if line.high > line.low:
        spread = [[line.seconds - line.low], [line.high - line.seconds]]
        axes.errorbar(line.seconds, place, xerr=spread, color=style.INK, elinewidth=1, capsize=3, capthick=1)
    end = max(line.high, floor.seconds) if floor is not None else line.high
    weight = "bold" if line.role == "ours" else "normal"
    style.beside(axes, _label(line, floor), end, place, GAP, weight)


def _floor_line(axes: Axes, floor: Floor) -> None:
    axes.axvline(floor.seconds, color=style.INK, linewidth=1.2, linestyle=(0, (4, 2)))
    right = floor.seconds > 0.7 * axes.get_xlim()[1]
    axes.annotate(
        f"floor {amount(floor.seconds)} s: {floor.limit}",
        (floor.seconds, 1),
        (-3 if right else 3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        size=style.SIZE,
    )


def _names(axes: Axes, entries: Sequence[Entry]) -> None:
    axes.set_yticks(range(len(entries)), [style.fitting(entry.name, style.LEFT - 16) for entry in entries])
    for text, entry in zip(axes.get_yticklabels(), entries, strict=True):
        if entry.line is None:
            text.set(color=style.MUTED, size=style.SIZE - 1)
        elif entry.line.role == "ours":
            text.set(weight="bold")


def _subtitle(workload: WorkloadResult, lines: Sequence[Line]) -> str:
    rounds = max(len(row.samples) for row in workload.rows)
    size = f"{workload.size / 2**20:,.0f} MiB, " if workload.size else ""
    return f"{size}median of {rounds} round{'' if rounds == 1 else 's'}, whiskers from fastest to slowest; less is better"
