"""``glance-stream bench``: measures on this machine what the pass costs."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import Invocation, ending_signals, json_option, pass_invocation
from glance_stream.cli.teaching import epilog

if TYPE_CHECKING:
    from glance_stream.config import Config

EPILOG = epilog(
    "glance-stream bench",
    "glance-stream bench --size 8GiB --dir /srv/images --dir /mnt/nfs/images --runs 5",
    meanings={130: "interrupted"},
)
UNITS = "MB are 1,000,000 bytes; --size and the other commands count in KiB, MiB, GiB (powers of 1024)."


@click.command("bench", epilog=EPILOG)
@click.option("--size", default="1GiB", show_default=True, metavar="SIZE", help="Of the image that is imported.")
@click.option(
    "--dir",
    "directories",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Write here; may be repeated, one store each. Default: where the configured file stores are, else a temporary directory.",
)
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1), help="How often each measurement is made.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, size: str, directories: tuple[Path, ...], runs: int) -> int:
    """Measure how fast images can be imported here."""
    from glance_stream import benchmark
    from glance_stream.benchmark.table import render
    from glance_stream.cli.output import Result
    from glance_stream.config import parse_size

    try:
        wanted = parse_size(size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--size") from error
    with ExitStack() as stack:
        chosen = list(directories) or _configured(invocation.load_config())
        if not chosen:
            chosen = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glance-stream-bench-")))]
        for number in ending_signals():
            signal.signal(number, signal.default_int_handler)  # so that what it wrote is removed then too
        found = benchmark.run(wanted, chosen, runs, invocation.reporter.measured)
    return invocation.reporter.finish(Result(0, found, [*render(found).splitlines(), "", UNITS]))


def _configured(config: Config) -> list[Path]:
    """Directories of the file stores that exist and may be written to."""
    paths = [Path(store.options["path"]) for store in config.stores.values() if store.type == "file" and not store.read_only]
    return [path for path in paths if path.is_dir()]
