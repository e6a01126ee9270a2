"""One workload: a bar for each row, whiskers from its fastest to its slowest round, and the floor as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.report import style
from compare.report.lines import QUANTITIES, Bar, Line, Quantity, amount
from compare.result import Floor, WorkloadResult

STEP = 23  # points from bar to bar
HEAD, FOOT = 62, 40
GAP = 6  # points from the end of a whisker to its text
WIDE = style.WIDTH - style.LEFT - style.RIGHT


@dataclass(frozen=True)
class Entry:
    """A place on the y axis: a heading, where there is no bar, or a bar and what stands behind it."""

    name: str
    bar: Bar | None = None
    role: str = ""
    text: str = ""

    @property
    def weight(self) -> str:
        return "bold" if self.role == "ours" else "normal"


def figure(workload: WorkloadResult, lines: Sequence[Line]) -> Figure:
    quantity = QUANTITIES[workload.shows]
    floor = workload.floor if workload.shows == "seconds" else None
    entries = _entries(lines, quantity, floor)
    height = HEAD + FOOT + STEP * len(entries)
    drawing = Figure(figsize=(style.WIDTH / 72, height / 72), facecolor=style.PAGE)
    axes = drawing.add_axes((style.LEFT / style.WIDTH, FOOT / height, WIDE / style.WIDTH, STEP * len(entries) / height))
    axes.set(facecolor=style.PAGE, xlim=(0, _reach(entries, floor)), ylim=(len(entries) - 0.5, -0.5), xlabel=quantity.axis)
    for place, entry in enumerate(entries):
        if entry.bar is not None:
            _bar(axes, place, entry, entry.bar, floor)
    if floor is not None:
        _floor_line(axes, floor)
    _names(axes, entries)
    style.heading(drawing, workload.title, _subtitle(workload))
    return drawing


def in_words(workload: WorkloadResult, line: Line) -> str:
    return f"{line.title} ({line.role}): {_label(line, QUANTITIES[workload.shows], None)}"


def _label(line: Line, quantity: Quantity, floor: Floor | None) -> str:
    """What stands behind a bar."""
    texts = [f"{amount(line.bar.middle)} {quantity.unit}"]
    if quantity is QUANTITIES["seconds"]:
        texts.append(line.rate)
        if line.role == "ours" and floor is not None and line.seconds:
            texts.append(f"{floor.seconds / line.seconds:.2f} of floor")
        elif line.role in ("peer", "variant") and line.times is not None:
            texts.append(f"{amount(line.times)} x ours")
    return " · ".join(text for text in texts if text)


def _entries(lines: Sequence[Line], quantity: Quantity, floor: Floor | None) -> list[Entry]:
    """Both groups with their headings; what CPU alone would take is a bound that no row measures."""
    found = [(line.role == "part", Entry(line.title, line.bar, line.role, _label(line, quantity, floor))) for line in lines]
    passes = [entry for is_part, entry in found if not is_part]
    parts = [entry for is_part, entry in found if is_part]
    if floor is not None and "cpu" in floor.bounds:
        cpu = floor.bounds["cpu"]
        parts.append(Entry("CPU of the parts / cores", Bar(cpu, cpu, cpu), "part", f"{amount(cpu)} s"))
        parts.sort(key=lambda entry: -entry.bar.middle if entry.bar else 0.0)
    if parts and passes:
        return [Entry("the same work"), *passes, Entry("its parts, each alone"), *parts]
    return passes + parts


def _reach(entries: Sequence[Entry], floor: Floor | None) -> float:
    """The end of the x axis: each text must fit behind its bar, and behind the floor where it would lie on that."""
    least = floor.seconds if floor is not None else 0.0
    found = [least * 1.05]
    for entry in entries:
        if entry.bar is not None:
            free = max(0.3, 1 - _room(entry) / WIDE)
            found.append(max(entry.bar.high, least) / free)
    return max(found) or 1.0


def _room(entry: Entry) -> float:
    return style.text_width(entry.text, bold=entry.role == "ours") + 2 * GAP


def _bar(axes: Axes, place: int, entry: Entry, bar: Bar, floor: Floor | None) -> None:
    axes.barh(place, bar.middle, height=0.62, color=style.ROLES.get(entry.role, style.PEER), linewidth=0)
    if bar.high > bar.low:
        spread = [[bar.middle - bar.low], [bar.high - bar.middle]]
        axes.errorbar(bar.middle, place, xerr=spread, color=style.INK, elinewidth=1, capsize=3, capthick=1)
    end = bar.high
    if floor is not None and end < floor.seconds < end + _room(entry) / WIDE * axes.get_xlim()[1]:
        end = floor.seconds
    style.beside(axes, entry.text, end, place, GAP, entry.weight)


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
    room = style.LEFT - 16
    names = [style.fitting(entry.name, room, bold=entry.role == "ours") for entry in entries]
    axes.set_yticks(range(len(entries)), names)
    for text, entry in zip(axes.get_yticklabels(), entries, strict=True):
        text.set_fontweight(entry.weight)
        if entry.bar is None:
            text.set(color=style.MUTED, size=style.SIZE - 1)


def _subtitle(workload: WorkloadResult) -> str:
    rounds = max(len(row.samples) for row in workload.rows)
    size = f"{workload.size / 2**20:,.0f} MiB, " if workload.size else ""
    how = f"median of {rounds} rounds, whiskers from least to most" if rounds > 1 else "one round"
    return f"{size}{how}; less is better"
