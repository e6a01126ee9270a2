"""``glance-stream recover``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import NO_CATALOGUE, epilog
from glance_stream.errors import EXIT_FAILED, EXIT_LEFTOVERS

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Recovered, Site

EPILOG = epilog(
    "glance-stream recover",
    "glance-stream recover --json",
    codes=(EXIT_FAILED, EXIT_LEFTOVERS),
    meanings={EXIT_FAILED: NO_CATALOGUE, EXIT_LEFTOVERS: "something could still not be removed", 130: "interrupted; run it again"},
)


@click.command("recover", epilog=EPILOG)
@json_option
@pass_invocation
def command(invocation: Invocation, /) -> int:
    """Clean up after crashes and failed rollbacks.

    Rolls back or finishes what dead processes began, and tries again to remove what could not be removed before. An image
    whose holder may be alive, or whose store can not be asked, is left alone and named.
    """
    from glance_stream.cli.session import with_site

    return with_site(invocation, _recover)


async def _recover(site: Site) -> Result:
    from glance_stream.importing import recover

    return _result(await recover(site))


def _result(done: Recovered) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import leftover_fields

    fields = {
        "images": list(done.images),
        "held": list(done.held),
        "removed": leftover_fields(done.removed),
        "leftovers": leftover_fields(done.leftovers),
    }
    lines = [
        *(f"recovered image {image_id}" for image_id in done.images),
        *(f"left alone, it may be alive or a store can not be asked: {held}" for held in done.held),
        *(f"removed from {one.store_id}: {one.trace}" for one in done.removed),
    ]
    complaints = [f"still in {one.store_id}: {one.trace}: {one.reason}" for one in done.leftovers]
    if not lines and not complaints:
        lines = ["there was nothing to recover"]
    return Result(EXIT_LEFTOVERS if done.leftovers else 0, fields, lines, complaints)
