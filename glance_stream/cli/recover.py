"""``glance-stream recover``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from glance_stream.cli import sizes
from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import NO_CATALOGUE, epilog
from glance_stream.errors import EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED, EXIT_PARTIAL
from glance_stream.units import parse_duration

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Recovered, Site
    from glance_stream.importing.sweep import Found, Swept

EPILOG = epilog(
    "glance-stream recover",
    "glance-stream recover --dry-run",
    "glance-stream recover jammy",
    "glance-stream recover --sweep --dry-run",
    "glance-stream recover --sweep --older-than 7d",
    codes=(EXIT_PARTIAL, EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED),
    meanings={
        EXIT_PARTIAL: "done, but not every store could be swept",
        EXIT_FAILED: NO_CATALOGUE,
        EXIT_LEFTOVERS: "something could still not be removed",
        EXIT_LOCKED: "IMAGE was left alone, as its holder is at work or its store can't be asked",
        130: "interrupted; run it again",
    },
)


@click.command("recover", epilog=EPILOG)
@click.argument("image", required=False)
@click.option("--sweep", is_flag=True, help="Then remove from every store what imports left there and no record knows.")
@click.option("--older-than", metavar="TIME", help="Sweep what has not changed for so long: 90m, 24h, 7d. Default: 24h.")
@click.option("--dry-run", is_flag=True, help="Only show what would be recovered and swept.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, image: str | None, sweep: bool, older_than: str | None, dry_run: bool) -> int:
    """Clean up after crashes and failed rollbacks.

    Rolls back or finishes what dead processes began, and those whose lease has ended, and tries again to remove what could not
    be removed before; with IMAGE only of that image. An image whose holder is at work, or whose store can not be asked, is left
    alone and named.

    --sweep goes further: what no record of this catalogue knows may belong to an import of another host, so let TIME be longer
    than any import takes.
    """
    from glance_stream.cli.session import with_site

    if not sweep and older_than is not None:
        raise click.UsageError("--older-than belongs to --sweep", click.get_current_context())
    if sweep and image is not None:
        raise click.UsageError("--sweep is for whole stores: leave out the image", click.get_current_context())
    try:
        seconds = parse_duration("24h" if older_than is None else older_than)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    invocation.reporter.only_tells = dry_run
    return with_site(invocation, lambda site: _recover(site, image, seconds if sweep else None, dry_run))


async def _recover(site: Site, image: str | None, older_than: int | None, dry_run: bool) -> Result:
    from dataclasses import replace

    from glance_stream.cli.session import find_image
    from glance_stream.importing.recover import foresee, recover
    from glance_stream.importing.sweep import sweep

    image_id = None if image is None else await find_image(site, image)
    done = await (foresee if dry_run else recover)(site, image_id)
    swept = None if older_than is None else await sweep(site, older_than, dry_run=dry_run)
    result = _result(done, swept, dry_run)
    return replace(result, exit_code=result.exit_code or EXIT_LOCKED) if image is not None and done.held else result


def _result(done: Recovered, swept: Swept | None, dry_run: bool) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import leftover_fields
    from glance_stream.config import mask_password

    leftovers = [*done.leftovers, *(swept.leftovers if swept else ())]
    discarded = [{"store": one.store_id, "trace": mask_password(one.trace)} for one in done.discarded]
    fields: dict[str, Any] = {
        "dry_run": dry_run,
        "images": list(done.images),
        "discarded": discarded,
        "held": list(done.held),
        "removed": leftover_fields(done.removed),
        "leftovers": leftover_fields(leftovers),
    }
    lines = [
        *(f"{'would recover' if dry_run else 'recovered'} image {image_id}" for image_id in done.images),
        *(f"{'would discard' if dry_run else 'discarded'} from {one['store']}: {one['trace']}" for one in discarded),
        *(f"left alone: {held}" for held in done.held),
        *(f"{'would try again to remove' if dry_run else 'removed'} from {one.store_id}: {one.trace}" for one in done.removed),
    ]
    complaints = [f"still in {one.store_id}: {one.trace}: {one.reason}" for one in leftovers]
    code = EXIT_LEFTOVERS if leftovers else 0
    if swept is not None:
        failed = {store_id: {"error": type(error).__name__, "message": str(error)} for store_id, error in swept.failed.items()}
        fields |= {"swept": [_stray(one) for one in swept.removed], "spared": [_stray(one) for one in swept.spared]}
        fields["failed"] = failed
        lines += [_line("would be swept from" if dry_run else "swept from", one) for one in swept.removed]
        lines += [_line("too young, or on record, in", one) for one in swept.spared]
        complaints += [f"not swept: {error}" for error in swept.failed.values()]
        code = code or (EXIT_PARTIAL if failed else 0)
    if not lines and not complaints:
        lines = ["nothing would be recovered"] if dry_run else ["there was nothing to recover"]
    return Result(code, fields, lines, complaints)


def _stray(one: Found) -> dict[str, Any]:
    stray = one.stray
    return {
        "store": one.store_id,
        "trace": stray.trace,
        "image_id": stray.image_id,
        "age": round(stray.age),
        "size": stray.size,
    }


def _line(verb: str, one: Found) -> str:
    size = "" if one.stray.size is None else f", {sizes.iec(one.stray.size)}"
    return f"{verb} {one.store_id}: {one.stray.trace} ({one.stray.age / 3600:.1f} h old{size})"
