"""Plots of a result as SVG and PNG: one of each workload, and one of what was asked beside what was reached."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import matplotlib
from matplotlib.figure import Figure

from compare.report import bars, bullets, style, svg
from compare.report.lines import lines, printable, scores
from compare.result import Result, WorkloadResult

DOTS = 200  # an inch, of the PNG


@dataclass(frozen=True)
class Plot:
    """``svg``: the root of the drawing, see ``svg.tidied``; ``png``: the file's content."""

    name: str
    title: str
    svg: Element
    png: bytes


def overview(result: Result) -> Plot | None:
    """None where no workload has a floor or a target."""
    found = scores(result)
    if not found:
        return None
    title = "What was asked and what was reached"
    description = "; ".join(bullets.in_words(score) for score in found)
    return _plot("overview", title, description, lambda: bullets.figure(found))


def of_workload(workload: WorkloadResult, name: str) -> Plot | None:
    """None where no row was measured."""
    found = lines(workload)
    if not found:
        return None
    description = "; ".join(bars.in_words(workload, line) for line in found)
    return _plot(name, workload.title, description, lambda: bars.figure(workload, found))


def _plot(name: str, title: str, description: str, draw: Callable[[], Figure]) -> Plot:
    with _settings():
        figure = draw()
        drawn, dots = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(dots, format="png", dpi=DOTS, metadata={"Software": None})
    root = svg.tidied(drawn.getvalue(), name, printable(title), printable(description))
    return Plot(name, title, root, dots.getvalue())


@contextmanager
def _settings() -> Iterator[None]:
    with matplotlib.rc_context(style.SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box in the PNG; the SVG's reader has other fonts
        yield
