"""A report's tables as Markdown, for docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from compare.report import tables
from compare.report.lines import limited_by, printable, signs
from compare.report.spread import in_order
from compare.report.tables import Table
from compare.result import Result, WorkloadResult

# What Markdown, or HTML in it, would take for its own.
SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def markdown(results: Sequence[Result]) -> str:
    """Of the latest run what was reached and all rows; of several runs also their spread. Ends with a line break."""
    return "\n\n".join(_blocks(in_order(results))) + "\n"


def _blocks(results: Sequence[Result]) -> Iterator[str]:
    latest = results[-1]
    yield of_table(tables.overview(latest))
    if len(results) > 1:
        yield of_table(tables.spread(results))
    for workload in latest.workloads:
        yield from _workload(workload)


def _workload(workload: WorkloadResult) -> Iterator[str]:
    yield f"### {escaped(workload.title)}"
    if workload.floor is not None:
        yield f"Limited by {escaped(limited_by(workload.floor))}."
    if workload.target is not None:
        verdict = "reached" if workload.target.reached else "**not reached**"
        yield f"Target: {escaped(signs(workload.target.text))}; measured {workload.target.measured:.4g}, {verdict}."
    yield of_table(tables.of_workload(workload))
    for note in (*workload.notes, *(f"Failed: {text}" for text in workload.failed)):
        yield escaped(note)


def of_table(table: Table) -> str:
    rule = [":--" if place < table.words else "--:" for place, _ in enumerate(table.heads)]
    rows = [[escaped(cell) for cell in row] for row in (table.heads, *table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def escaped(text: str) -> str:
    """On one line, and nothing in it that Markdown understands."""
    return SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))
