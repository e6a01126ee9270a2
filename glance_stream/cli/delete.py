"""``glance-stream delete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import Invocation, image_argument, json_option, pass_invocation, store_option
from glance_stream.cli.teaching import epilog
from glance_stream.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_LOCKED

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Outcome, Site

INTERRUPTED = "interrupted: what was deleted stays deleted; delete again to finish"
EPILOG = epilog(
    "glance-stream delete 3f2c",
    "glance-stream delete jammy --store far",
    codes=(EXIT_FAILED, EXIT_LOCKED),
    meanings={EXIT_FAILED: "a store failed; what it still has stays on record", EXIT_INTERRUPTED: INTERRUPTED},
)


@click.command("delete", epilog=EPILOG)
@image_argument
@store_option("--store", help="Delete from this store only; the last copy can't be deleted so. Default: from all, and the record.")
@click.option("--forget", is_flag=True, help="Drop the record of copies in read-only or unknown stores; the data stays.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, image: str, store: str | None, forget: bool) -> int:
    """Delete an image, or its copy in one store."""
    from glance_stream.cli.session import with_site

    return with_site(invocation, lambda site: _delete(invocation, site, image, store, forget))


async def _delete(invocation: Invocation, site: Site, image: str, store: str | None, forget: bool) -> Result:
    import asyncio
    from datetime import UTC, datetime

    from glance_stream.cli.results import failed
    from glance_stream.cli.session import find_image, find_store
    from glance_stream.errors import GlanceStreamError
    from glance_stream.importing import delete_from_store, delete_image

    image_id, store_id = await find_image(site, image), find_store(site, store)
    invocation.reporter.image_id, since = image_id, datetime.now(UTC)
    try:
        if store_id is not None:
            return _from_store(await delete_from_store(site, image_id, store_id, forget=forget), store_id)
        return _altogether(await delete_image(site, image_id, forget=forget))
    except (GlanceStreamError, asyncio.CancelledError) as error:
        invocation.reporter.trace()
        return await failed(site, image_id, error, since, INTERRUPTED, undone=False)


def _from_store(outcome: Outcome, store_id: str) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import image_fields, image_lines

    fields = {**image_fields(outcome.image), "notes": list(outcome.notes), "failed": {}, "leftovers": []}
    title = f"deleted image {outcome.image.image_id} from {store_id}"
    return Result(0, fields, [title, *image_lines(outcome.image), *_notes(outcome)])


def _altogether(outcome: Outcome) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import image_fields

    gone = {"status": "deleted", "stores": [], "notes": list(outcome.notes), "failed": {}, "leftovers": []}
    places = f" from {', '.join(outcome.image.stores)}" if outcome.image.stores else ""
    return Result(0, image_fields(outcome.image) | gone, [f"deleted image {outcome.image.image_id}{places}", *_notes(outcome)])


def _notes(outcome: Outcome) -> list[str]:
    return [f"  note        {note}" for note in outcome.notes]
