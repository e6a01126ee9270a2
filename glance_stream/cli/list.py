"""``glance-stream list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli import sizes
from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import NO_CATALOGUE, UNWRITTEN, epilog
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
    meanings={EXIT_FAILED: f"{NO_CATALOGUE}, or {UNWRITTEN}", 130: "interrupted"},
)


@click.command("list", epilog=EPILOG)
@json_option
@pass_invocation
def command(invocation: Invocation, /) -> int:
    """Show all images, the newest first."""
    from glance_stream.cli.session import with_site

    invocation.reporter.only_tells = True
    return with_site(invocation, _list)


async def _list(site: Site) -> Result:
    from glance_stream import threads
    from glance_stream.catalogue import may_be_taken_over
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import image_fields

    images = await threads.call(site.catalogue.list_images)
    locked = {image.image_id for image in images if IMPORT_TASK in image.properties}
    held = await threads.call(site.catalogue.interrupted) if locked else []
    dead = {one.image.image_id for one in held if may_be_taken_over(one.task)} & locked
    states = dict.fromkeys(locked, " (locked)") | dict.fromkeys(dead, " (interrupted)")
    fields = [{**image_fields(one), "locked": one.image_id in locked, "interrupted": one.image_id in dead} for one in images]
    lines = [_line(one, states.get(one.image_id, "")) for one in images]
    title = [f"{'id':<36}  {'status':<9}  {'size':>10}  {'name':<24}  stores"] if images else ["there are no images yet"]
    return Result(0, {"images": fields}, [*title, *lines])


def _line(image: Image, state: str) -> str:
    size = "-" if image.size is None else sizes.iec(image.size)
    return f"{image.image_id}  {image.status:<9}  {size:>10}  {image.name or '-':<24}  {', '.join(image.stores) or '-'}{state}"
