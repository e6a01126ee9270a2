"""One page that holds a whole report: its plots are in it, and it needs no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compare.report import style, svg, tables
from compare.report.lines import limited_by, printable, signs
from compare.report.plots import Plot
from compare.report.tables import Table
from compare.result import Result, WorkloadResult

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Section:
    """Of one workload. ``drawing``: an element of HTML, empty where nothing was measured."""

    name: str
    title: str
    limit: str
    target: str
    drawing: Markup
    rows: Table
    bounds: Table | None
    further: Table
    notes: Sequence[str]
    failed: Sequence[str]


def page(results: Sequence[Result], overview: Plot | None, plots: Sequence[tuple[str, Plot | None]]) -> str:
    """Of the last of the runs. ``plots``: of each of its workloads the name and the plot."""
    latest = results[-1]
    environment = Environment(
        loader=PackageLoader("compare.report", ""),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        colours=style.DARK,
        latest=latest,
        started=[result.started for result in results],
        overview=_drawing(overview),
        scores=tables.overview(latest),
        spread=tables.spread(results) if len(results) > 1 else None,
        sections=[_section(workload, *plot) for workload, plot in zip(latest.workloads, plots, strict=True)],
    )


def _section(workload: WorkloadResult, name: str, plot: Plot | None) -> Section:
    floor, target = workload.floor, workload.target
    verdict = "" if target is None else "reached" if target.reached else "not reached"
    return Section(
        name=name,
        title=workload.title,
        limit=limited_by(floor) if floor else "",
        target=f"{signs(target.text)}: {target.measured:.4g}, {verdict}" if target else "",
        drawing=_drawing(plot),
        rows=tables.of_workload(workload),
        bounds=tables.bounds(floor) if floor else None,
        further=tables.further(workload),
        notes=workload.notes,
        failed=workload.failed,
    )


def _drawing(plot: Plot | None) -> Markup:
    return Markup(svg.inline(plot.svg)) if plot else Markup("")


def _finalized(value: object) -> object:
    """Each value that the template shows; what is markup already, is not text."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
