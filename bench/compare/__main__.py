"""``PYTHONPATH=bench python -m compare``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from compare.ground import Ground
from compare.peers import peers_of
from compare.report import write_report
from compare.report.markdown import markdown
from compare.report.spread import in_order
from compare.result import Result, read, write
from compare.run import compare
from compare.table import render
from compare.workload import Workload
from compare.workloads import all_workloads
from compare.workloads.peers import GLANCE_ROUNDS
from glance_stream.units import parse_size

ABOUT = """Measure the pass beside what its parts take alone and beside other programs, on the same bytes, in alternating rounds.

\b
  python -m compare run                        2 GiB, 5 rounds, about 17 minutes on 2 cores
  python -m compare run --size 256MiB --rounds 3 --only raw3
  python -m compare list                       what there is to measure
  python -m compare report build/compare/result.json

Figures of one run may be compared with each other, those of two runs only by their ratios. bench/README.md tells how to read them.
"""


ROOM = 8  # images: sources of all kinds, and three copies of the largest
DIRECTORY = click.Path(file_okay=False, path_type=Path)


def in_bytes(context: click.Context, parameter: click.Parameter, value: str) -> int:
    try:
        return int(parse_size(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group(help=ABOUT, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    pass


@main.command("run")
@click.option(
    "--size",
    callback=in_bytes,
    default="2GiB",
    show_default=True,
    metavar="SIZE",
    help="Of the image. Below 1 GiB, starting is a part of it.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="An odd number has a true median.")
@click.option(
    "--dir",
    "directory",
    type=DIRECTORY,
    default=Path("build"),
    show_default=True,
    help=f"On the disk to be measured, for sources and stores: room for {ROOM} images. Left as it was.",
)
@click.option("--only", multiple=True, metavar="KEY", help="This workload (see `list`); may be repeated.")
@click.option("--no-peers", is_flag=True, help="Leave other programs out.")
@click.option("--with-glance", is_flag=True, help="Also install and run a real Glance, which takes minutes a round.")
@click.option(
    "--glance-rounds", type=click.IntRange(min=1), default=GLANCE_ROUNDS, show_default=True, help="Of real Glance, at most."
)
@click.option("--out", type=DIRECTORY, default=Path("build/compare"), show_default=True, help="For result.json and the report.")
def run(
    size: int,
    rounds: int,
    directory: Path,
    only: tuple[str, ...],
    no_peers: bool,
    with_glance: bool,
    glance_rounds: int,
    out: Path,
) -> None:
    """Measure, print the table, and write result.json and the report.

    Leave the machine alone meanwhile. Exit status: 1 if anything failed; what is slow does not fail.
    Ctrl-C ends it with what was measured until then (130).
    """
    workloads = chosen(only)
    workloads = without_peers(workloads) if no_peers else with_peers(workloads, with_glance or "glance" in only, glance_rounds)
    for path in (directory, out):
        path.mkdir(parents=True, exist_ok=True)
    require_room(directory, size)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was written is removed then too
    with tempfile.TemporaryDirectory(prefix=".compare-", dir=directory.absolute()) as root:
        result = compare(workloads, Ground(Path(root), size), rounds, say)
    say("")
    write(result, out / "result.json")
    show([result], out)
    sys.exit(130 if result.interrupted else 1 if any(workload.failed for workload in result.workloads) else 0)


@main.command("list")
def list_() -> None:
    """Show the workloads and what is measured in each."""
    for workload in with_peers(all_workloads(), with_glance=True):
        click.echo(f"{workload.key}: {workload.title}")
        for job in workload.jobs:
            click.echo(f"    {job.role:8}{job.kind:8}{job.title}")


@main.command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=DIRECTORY, help="For the report. [default: beside the last RESULT]")
def report(results: tuple[Path, ...], out: Path | None) -> None:
    """Print the table of an earlier run and write its report again, from its RESULT.json.

    Of several runs the last is shown, and how far they lie apart.
    """
    show([read(result) for result in results], out or results[-1].parent)


def show(results: Sequence[Result], out: Path) -> None:
    """The last table on the terminal, and everything made from the results into ``out``."""
    text = render(in_order(results)[-1])
    click.echo(text, nl=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.txt").write_text(text)
    (out / "tables.md").write_text(markdown(results), encoding="utf-8")
    try:
        page, *plots = write_report(results, out)
    except ModuleNotFoundError as error:
        say(f"no report: {error}")
    else:
        say(f"{page} and {len(plots)} plots beside it")


def chosen(only: Sequence[str]) -> list[Workload]:
    known = {workload.key: workload for workload in all_workloads()}
    if unknown := [key for key in only if key not in known]:
        raise click.BadParameter(f"no workload {unknown[0]!r}; there are {', '.join(known)}", param_hint="--only")
    return [workload for key, workload in known.items() if not only or key in only]


def without_peers(workloads: Sequence[Workload]) -> list[Workload]:
    return [workload for workload in workloads if not workload.peers]


def with_peers(workloads: Sequence[Workload], with_glance: bool, glance_rounds: int = GLANCE_ROUNDS) -> list[Workload]:
    """Without those that are there for peers of which there are none."""
    found = []
    for workload in workloads:
        peers = peers_of(workload.key, with_glance)
        if peers or not workload.peers:
            rounds = glance_rounds if workload.key == "glance" else workload.rounds
            found.append(replace(workload, jobs=[*workload.jobs, *peers], rounds=rounds))
    return found


def require_room(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < ROOM * size:
        raise click.UsageError(
            f"{directory} has {free / 1e9:.1f} GB free, {ROOM * size / 1e9:.1f} are needed: give another --dir or --size"
        )


def say(text: str) -> None:
    """One line on a terminal, rewritten; a line each elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text[:119]}", nl=False, err=True)
    elif text:
        click.echo(text, err=True)


if __name__ == "__main__":
    main(prog_name="python -m compare")
