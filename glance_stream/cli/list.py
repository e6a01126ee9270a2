"""``glance-stream list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli import sizes
from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import NO_CATALOGUE, epilog
from glance_stream.errors import EXIT_FAILED
from glance_stream.model import IMPORT_TASK

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Site
    from glance_stream.model import Image

EPILOG = epilog(
    "glance-stream list",
    "glance-stream list --json",
    codes=(EXIT_FAILED,),
    meanings={EXIT_FAILED: NO_CATALOGUE, 130: "interrupted"},
)


@click.command("list", epilog=EPILOG)
@json_option
@pass_invocation
def command(invocation: Invocation, /) -> int:
    """Show all images, the newest first."""
    from glance_stream.cli.session import with_site

    return with_site(invocation, _list)


async def _list(site: Site) -> Result:
    from glance_stream import threads
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import image_fields

    images = await threads.call(site.catalogue.list_images)
    lines = [_line(image) for image in images]
    title = [f"{'id':<36}  {'status':<9}  {'size':>10}  {'name':<24}  stores"] if images else ["there are no images yet"]
    return Result(
        0, {"images": [{**image_fields(image), "locked": IMPORT_TASK in image.properties} for image in images]}, [*title, *lines]
    )


def _line(image: Image) -> str:
    size = "-" if image.size is None else sizes.iec(image.size)
    locked = " (locked)" if IMPORT_TASK in image.properties else ""
    return f"{image.image_id}  {image.status:<9}  {size:>10}  {image.name or '-':<24}  {', '.join(image.stores) or '-'}{locked}"
