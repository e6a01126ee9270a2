"""The files of a report: a page, and each plot as SVG and PNG."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from compare.report.spread import in_order
from compare.result import Result, WorkloadResult

NEEDED = ("matplotlib", "jinja2")


def write_report(results: Sequence[Result], out: Path) -> list[Path]:
    """The page and the plots show the last of the runs, the page also the spread of all; returns what was written, the page first.

    Raises ModuleNotFoundError, which says what to install, and OSError.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ModuleNotFoundError(f"the report needs {' and '.join(missing)}: pip install 'glance-stream[bench]'")
    # It would tell that it builds its cache of fonts, which it does once and which concerns nobody.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from compare.report import html, plots, svg

    runs = in_order(results)
    workloads = runs[-1].workloads
    overview = plots.overview(runs[-1])
    drawn = [(name, plots.of_workload(workload, name)) for name, workload in zip(names(workloads), workloads, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    written = [_written(out / "report.html", html.page(runs, overview, drawn).encode())]
    for plot in (overview, *(plot for _, plot in drawn)):
        if plot is not None:
            written.append(_written(out / f"{plot.name}.svg", svg.standalone(plot.svg)))
            written.append(_written(out / f"{plot.name}.png", plot.png))
    return written


def names(workloads: Sequence[WorkloadResult]) -> list[str]:
    """Of files and of elements: no two the same, whatever the keys hold."""
    found: list[str] = []
    for workload in workloads:
        name = "workload-" + re.sub(r"[^a-z0-9]+", "-", workload.key.lower()).strip("-")
        found.append(name if name not in found else f"{name}-{len(found) + 1}")
    return found


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
