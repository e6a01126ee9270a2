"""``glance-stream show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli import sizes
from glance_stream.cli.options import Invocation, image_argument, json_option, pass_invocation
from glance_stream.cli.teaching import NO_CATALOGUE, UNWRITTEN, epilog
from glance_stream.errors import EXIT_FAILED

if TYPE_CHECKING:
    from datetime import datetime

    from glance_stream.catalogue import Failure, Task
    from glance_stream.cli.output import Result
    from glance_stream.importing import Site
    from glance_stream.model import Image

EPILOG = epilog(
    "glance-stream show 3f2c",
    "glance-stream show jammy --json",
    codes=(EXIT_FAILED,),
    meanings={EXIT_FAILED: f"{NO_CATALOGUE}, or {UNWRITTEN}", 130: "interrupted"},
)


@click.command("show", epilog=EPILOG)
@image_argument
@json_option
@pass_invocation
def command(invocation: Invocation, /, image: str) -> int:
    """Show all that is recorded of an image.

    Its fields and properties, where it is, why stores failed, and who holds it just now.
    """
    from glance_stream.cli.session import with_site

    invocation.reporter.only_tells = True
    return with_site(invocation, lambda site: _show(site, image))


async def _show(site: Site, text: str) -> Result:
    from glance_stream import threads
    from glance_stream.cli.output import Result
    from glance_stream.cli.session import find_image

    image = await site.image(await find_image(site, text))
    failures = await threads.call(site.catalogue.failures, image.image_id)
    holder = await threads.call(site.catalogue.holder, image.image_id)
    return Result(0, _fields(image, failures, holder), _lines(image, failures, holder))


def _fields(image: Image, failures: list[Failure], holder: Task | None) -> dict[str, object]:
    from glance_stream.cli.results import image_fields
    from glance_stream.config import mask_password

    return {
        **image_fields(image),
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "virtual_size": image.virtual_size,
        "created_at": _moment(image.created_at),
        "updated_at": _moment(image.updated_at),
        "properties": dict(image.properties),
        "locations": [
            {"store": one.store_id, "url": mask_password(one.url), "metadata": dict(one.metadata)} for one in image.locations
        ],
        "failed": {one.store_id: {"error": one.error, "message": one.message, "at": _moment(one.at)} for one in failures},
        "locked_by": None if holder is None else _task(holder),
    }


def _task(holder: Task) -> dict[str, object]:
    from glance_stream.catalogue import holder_is_dead

    process = holder.process
    done, total = holder.progress.get("read"), holder.progress.get("total")
    return {
        "task": holder.id,
        "operation": str(holder.operation),
        "host": process.host,
        "pid": process.pid,
        "started_at": _moment(holder.started_at),
        "last_sign_of_life": _moment(holder.updated_at),
        "lease_until": _moment(holder.held_until),
        "message": holder.message,
        "progress": dict(holder.progress),
        "percent": None if done is None or not total else round(100 * done / total, 1),
        "dead": holder_is_dead(holder),
        "expired": holder.is_expired,
    }


def _lines(image: Image, failures: list[Failure], holder: Task | None) -> list[str]:
    from glance_stream.catalogue import why_locked
    from glance_stream.cli.results import image_lines
    from glance_stream.config import mask_password

    facts = {
        "formats": f"disk {image.disk_format or 'not known yet'}, container {image.container_format}",
        "virtual": None if image.virtual_size is None else sizes.both(image.virtual_size),
        "created": _moment(image.created_at),
        "updated": _moment(image.updated_at),
        "locked by": None if holder is None else why_locked(holder),
    }
    return [
        f"image {image.image_id} ({image.status})",
        *image_lines(image),
        *(f"  {name:<11} {value}" for name, value in facts.items() if value),
        *(f"  location    {one.store_id}: {mask_password(one.url)}" for one in image.locations),
        *([] if holder is None else _progress_lines(holder)),
        *(f"  property    {name}={value}" for name, value in sorted(image.properties.items()) if _tells(name, value)),
        *(f"  failed      {one.store_id}: {one.error}: {one.message}" for one in failures),
    ]


def _progress_lines(holder: Task) -> list[str]:
    """How much each store of the operation has."""
    stores, kept = holder.progress.get("stores", {}), holder.progress.get("kept", {})
    return [
        f"  in progress {store_id}: {sizes.iec(done)} written"
        + (f", of which {sizes.iec(kept[store_id])} were there already" if store_id in kept else "")
        for store_id, done in sorted(stores.items())
    ]


def _tells(name: str, value: str) -> bool:
    """Glance's own properties are there on every image, and mostly empty."""
    return bool(value) or not name.startswith("os_glance_")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
