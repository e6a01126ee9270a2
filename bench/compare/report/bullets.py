"""The overview: for each workload a bar of what was reached and a mark at what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.report import style
from compare.report.lines import Score, amount

STEP = 38  # points from bar to bar
HEAD, BETWEEN, FOOT = 56, 58, 30
LEFT = 318  # points, for the names and what is asked
COLUMN = 80  # points, for the limiting part at the right


def figure(scores: Sequence[Score]) -> Figure:
    """Shares of a whole have one axis for all; what has a unit of its own is drawn as a multiple of what was asked."""
    panels = [panel for panel in ([s for s in scores if s.is_share], [s for s in scores if not s.is_share]) if panel]
    height = HEAD + FOOT + STEP * len(scores) + BETWEEN * (len(panels) - 1)
    drawing = Figure(figsize=(style.WIDTH / 72, height / 72), facecolor=style.PAGE)
    style.heading(drawing, "What was asked and what was reached", "bar: measured; mark: target; orange: not reached")
    top = HEAD
    for panel in panels:
        tall = STEP * len(panel)
        wide = style.WIDTH - LEFT - style.RIGHT - COLUMN
        place = (LEFT / style.WIDTH, 1 - (top + tall) / height, wide / style.WIDTH, tall / height)
        _panel(drawing.add_axes(place), panel, wide)
        top += tall + BETWEEN
    return drawing


def in_words(score: Score) -> str:
    asked = f", {score.text}" if score.text else ""
    limit = f", limit: {score.limit}" if score.limit else ""
    return f"{score.title}: {_measured(score)}{asked}{_verdict(score)}{limit}"


def _panel(axes: Axes, scores: Sequence[Score], wide: float) -> None:
    shares = scores[0].is_share
    axes.set_facecolor(style.PAGE)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_xlim(0, _reach(scores, wide))
    for place, score in enumerate(scores):
        _name(axes, place, score)
        _bar(axes, place, score)
    axes.set_yticks([])
    axes.set_xlabel("share: floor / ours, or as the target says" if shares else "multiple of the target")
    if any(score.limit for score in scores):
        _in_column(axes, "limited by", -0.75, style.MUTED)


def _bar(axes: Axes, place: int, score: Score) -> None:
    length = _length(score)
    if length is not None:
        colour = style.SHORT if score.reached is False else style.OURS
        axes.barh(place, length, height=0.5, color=colour, linewidth=0)
    mark = _mark(score)
    if mark is not None:
        axes.vlines(mark, place - 0.42, place + 0.42, color=style.INK, linewidth=2)
    end = max(length or 0.0, mark or 0.0)
    style.beside(axes, _measured(score), end, place, 6)
    _in_column(axes, score.limit, place, style.INK)


def _name(axes: Axes, place: int, score: Score) -> None:
    """The workload, and below it what was asked."""
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    room = LEFT - 20
    low = -1 if score.text else 0
    axes.annotate(style.fitting(score.title, room), (0, place), (-8, low), va="bottom" if score.text else "center", **where)
    small: dict[str, Any] = {"size": style.SIZE - 1, "color": style.MUTED}
    axes.annotate(style.shortened(score.text, room, style.SIZE - 1), (0, place), (-8, -4), va="top", **small, **where)


def _in_column(axes: Axes, text: str, place: float, colour: str) -> None:
    """At the right of the plot."""
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(style.shortened(text, COLUMN), (1, place), (10, 0), color=colour, **where)


def _length(score: Score) -> float | None:
    if score.measured is None:
        return None
    return score.measured if score.is_share else score.measured / score.bound if score.bound else None


def _mark(score: Score) -> float | None:
    return score.bound if score.is_share else 1.0


def _measured(score: Score) -> str:
    if score.measured is None:
        return "not measured"
    return f"{score.measured:.2f}" if score.is_share else amount(score.measured)


def _verdict(score: Score) -> str:
    return "" if score.reached is None else ", reached" if score.reached else ", not reached"


def _reach(scores: Sequence[Score], wide: float) -> float:
    found = [1.0]
    for score in scores:
        end = max(_length(score) or 0.0, _mark(score) or 0.0)
        found.append(end / max(0.3, 1 - (style.text_width(_measured(score)) + 12) / wide))
    return max(found)
