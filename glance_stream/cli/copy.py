"""``glance-stream copy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import (
    Invocation,
    best_effort_option,
    check_stores,
    image_argument,
    json_option,
    pass_invocation,
    restart_option,
    store_option,
)
from glance_stream.cli.teaching import epilog
from glance_stream.errors import EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED, EXIT_PARTIAL

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Site

EPILOG = epilog(
    "glance-stream copy 3f2c --to far --to archive",
    "glance-stream copy jammy --all-stores --best-effort",
    codes=(EXIT_PARTIAL, EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED),
)


@click.command("copy", epilog=EPILOG)
@image_argument
@store_option("--to", "stores", multiple=True, help="Copy to this store; may be repeated.")
@click.option("--all-stores", is_flag=True, help="Copy to every store that can be written to and does not have the image.")
@store_option("--from", "source", help="Read from this store only. Default: the first that gives the recorded bytes.")
@best_effort_option
@restart_option
@json_option
@pass_invocation
def command(
    invocation: Invocation,
    /,
    image: str,
    stores: tuple[str, ...],
    all_stores: bool,
    source: str | None,
    best_effort: bool,
    restart: bool,
) -> int:
    """Copy an active image to more stores.

    The bytes go unchanged and are checked against the image's recorded digest while they go. A failed copy leaves the image as
    it was.
    """
    from glance_stream.cli.session import with_site

    check_stores(stores, all_stores, "--to")
    if not stores and not all_stores:
        raise click.UsageError("name the stores to copy to with --to, or all with --all-stores", click.get_current_context())
    return with_site(invocation, lambda site: _copy(invocation, site, image, stores, all_stores, source, best_effort, restart))


async def _copy(
    invocation: Invocation,
    site: Site,
    image: str,
    stores: tuple[str, ...],
    all_stores: bool,
    source: str | None,
    best_effort: bool,
    restart: bool,
) -> Result:
    import asyncio
    import time
    from datetime import UTC, datetime

    from glance_stream.cli.results import failed, succeeded
    from glance_stream.cli.session import find_image, find_store
    from glance_stream.errors import GlanceStreamError
    from glance_stream.importing import copy_image

    image_id = invocation.reporter.image_id = await find_image(site, image)
    began, since = time.monotonic(), datetime.now(UTC)
    try:
        outcome = await copy_image(
            site,
            image_id,
            stores=stores or None,
            all_stores=all_stores,
            all_stores_must_succeed=not best_effort,
            source_store=find_store(site, source),
            restart=restart,
            observer=invocation.reporter.progress,
        )
    except (GlanceStreamError, asyncio.CancelledError) as error:
        invocation.reporter.trace()
        return await failed(site, image_id, error, since, undone=not best_effort)
    return succeeded(outcome, "copied", time.monotonic() - began)
