"""How every plot looks: Okabe and Ito's colours, which colour-blind readers tell apart, and one font for all."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.report.lines import printable

INK, MUTED, GRID, PAGE = "#1b1f24", "#59636e", "#dfe3e8", "#ffffff"
OURS, VARIANT, PEER, PART, SHORT = "#0072b2", "#56b4e9", "#e69f00", "#a4acb5", "#d55e00"

ROLES = {"ours": OURS, "variant": VARIANT, "peer": PEER, "part": PART}

# What the page shows instead of each where its reader has a dark theme.
DARK = {
    INK: "#e6e9ed", MUTED: "#a3acb6", GRID: "#363c44", PAGE: "#14171b",
    OURS: "#3d9fdb", VARIANT: "#8fcdf2", PEER: "#d99a1a", PART: "#6f7882", SHORT: "#f0763a",
}  # fmt: skip

WIDTH = 720  # points, of every plot
LEFT = 250  # for the names
RIGHT = 14
SIZE = 9  # points, of text

SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": SIZE,
    "text.parse_math": False,  # a title with two dollar signs is no formula
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "ytick.major.pad": 8,
    "svg.fonttype": "none",  # text stays text: it can be read aloud, found and selected
    "svg.hashsalt": "glance-stream",  # the same figures give the same file
}


def text_width(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Points, estimated: the reader's font need not be ours."""
    return (0.66 if bold else 0.57) * size * len(text)


def fitting(text: str, width: float, bold: bool = False) -> str:
    """Two lines of at most that many points; what is longer ends in an ellipsis."""
    chars = max(8, int(width / text_width("x", bold=bold)))
    return "\n".join(wrap(printable(text), chars, max_lines=2, placeholder=" …")) or " "


def heading(drawing: Figure, title: str, subtitle: str) -> None:
    """At the left edge, above all else."""
    across, tall = (size * 72 for size in drawing.get_size_inches())
    drawing.text(
        12 / across, 1 - 10 / tall, shortened(title, across - 24, SIZE + 3, bold=True), va="top", size=SIZE + 3, weight="bold"
    )
    drawing.text(12 / across, 1 - 29 / tall, shortened(subtitle, across - 24), va="top", color=MUTED)


def shortened(text: str, width: float, size: float = SIZE, bold: bool = False) -> str:
    """One line."""
    chars = int(width / text_width("x", size, bold))
    text = printable(text)
    return text if len(text) <= chars else text[: chars - 1] + "…"


def beside(axes: Axes, text: str, end: float, place: float, gap: float, weight: str = "normal") -> None:
    """Points behind the end of a bar, on the page's colour, so that no grid line runs through it."""
    under: dict[str, Any] = {"facecolor": PAGE, "linewidth": 0, "pad": 1.5}
    where: dict[str, Any] = {"xytext": (gap, 0), "textcoords": "offset points", "va": "center_baseline"}
    axes.annotate(printable(text), (end, place), weight=weight, bbox=under, **where)
