"""``glance-stream verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import Invocation, image_argument, json_option, pass_invocation, store_option
from glance_stream.cli.teaching import UNWRITTEN, epilog
from glance_stream.errors import EXIT_DAMAGED, EXIT_FAILED

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.importing import Checked, Site, Verification

EPILOG = epilog(
    "glance-stream verify 3f2c",
    "glance-stream verify jammy --store far --json",
    codes=(EXIT_FAILED, EXIT_DAMAGED),
    meanings={EXIT_FAILED: f"a copy could not be read, so nothing is known of it; or {UNWRITTEN}", 130: "interrupted"},
)
SHOWN_RANGES = 5


@click.command("verify", epilog=EPILOG)
@image_argument
@store_option("--store", help="Read from this store only. Default: from each that has the image.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, image: str, store: str | None) -> int:
    """Read an image back and compare it with its record.

    What is damaged is named down to the range of bytes. Nothing is changed.
    """
    from glance_stream.cli.session import with_site

    invocation.reporter.only_tells = True
    return with_site(invocation, lambda site: _verify(invocation, site, image, store))


async def _verify(invocation: Invocation, site: Site, image: str, store: str | None) -> Result:
    from glance_stream.cli.session import find_image, find_store
    from glance_stream.importing import verify

    image_id, reporter, chosen = await find_image(site, image), invocation.reporter, find_store(site, store)
    reporter.image_id = image_id

    def reading(store_id: str, number: int, stores: int) -> None:
        reporter.reading = store_id if stores == 1 else f"{store_id} ({number} of {stores})"

    return _result(await verify(site, image_id, chosen, reporter.progress, reading))


def _result(verification: Verification) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import image_fields

    code = EXIT_DAMAGED if verification.damaged else EXIT_FAILED if verification.unreadable else 0
    fields = {**image_fields(verification.image), "checked": [_fields(one) for one in verification.checked]}
    width = max((len(one.store_id) for one in verification.checked), default=0)
    return Result(code, fields, [_line(one, width) for one in verification.checked])


def _fields(checked: Checked) -> dict[str, object]:
    ranges = [[offset, length] for offset, length in checked.ranges]
    return {"store": checked.store_id, "verdict": str(checked.verdict), "reason": checked.reason, "ranges": ranges}


def _line(checked: Checked, width: int) -> str:
    reason = f": {checked.reason}" if checked.reason else ""
    shown = [f"{length} bytes at {offset}" for offset, length in checked.ranges[:SHOWN_RANGES]]
    if len(checked.ranges) > SHOWN_RANGES:
        shown.append(f"and {len(checked.ranges) - SHOWN_RANGES} more ranges, which --json tells")
    return f"{checked.store_id:<{width}}  {', '.join([f'{checked.verdict}{reason}', *shown])}"
