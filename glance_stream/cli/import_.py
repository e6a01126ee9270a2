"""``glance-stream import``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from glance_stream.cli.options import (
    Invocation,
    best_effort_option,
    check_stores,
    json_option,
    pass_invocation,
    restart_option,
    store_option,
)
from glance_stream.cli.teaching import epilog
from glance_stream.errors import EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED, EXIT_PARTIAL

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.errors import InvalidRequest
    from glance_stream.importing import ImportRequest, Site

EPILOG = epilog(
    "glance-stream import jammy.img --name jammy",
    "glance-stream import https://example.org/jammy.qcow2.zst --disk-format qcow2 --all-stores",
    "zcat disk.gz | glance-stream import - --store fast --store file:///mnt/usb --expect sha256:9f86d081...",
    codes=(EXIT_PARTIAL, EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED),
)


@click.command("import", epilog=EPILOG)
@click.argument("source", metavar="SOURCE")
@store_option("--store", "stores", multiple=True, help="Import into this store; may be repeated. Default: the default store.")
@click.option("--all-stores", is_flag=True, help="Import into every store that can be written to.")
@best_effort_option
@click.option("--expect", multiple=True, metavar="ALGO:HEX", help="The stored bytes must have this digest; may be repeated.")
@click.option("--expect-compressed", multiple=True, metavar="ALGO:HEX", help="The bytes of SOURCE, as it gives them, must.")
@click.option("--md5", is_flag=True, help="Compute Glance's legacy checksum too.")
@click.option("--hash", "hash_algo", metavar="ALGO", help="Of os_hash_value. Default: the configuration's, sha512.")
@click.option("--disk-format", metavar="FORMAT", help="raw, qcow2, vmdk, iso, ... Of a new image: as the content shows.")
@click.option("--container-format", metavar="FORMAT", help="bare, ova, compressed, ... Of a new image: bare unless given.")
@click.option("--name", help="What to call the image.")
@click.option("--id", "image_id", metavar="UUID", help="Of the image: a new id, or that of a queued image to be filled, in full.")
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="A property of the image; may be repeated.")
@click.option(
    "--decompress",
    metavar="auto|never|FORMAT",
    help="Store what SOURCE unpacks to: as its content shows, never, or as gzip, zstd, xz, bz2, lz4, zip, lha. "
    "Default: the configuration's, auto.",
)
@click.option("--thin", is_flag=True, help="Leave holes for zeros where the store can.")
@restart_option
@click.option("--max-size", metavar="SIZE", help="Refuse a larger image, such as 100GiB. Default: the configuration's, 1 TiB.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, max_size: str | None, **given: Any) -> int:
    """Import SOURCE as an image.

    SOURCE is a file, a block device or a FIFO, '-' for standard input, or an http://, https:// or file:// URL. It is read once.
    Every store has the whole image afterwards, or none has; with --best-effort, those that can.
    """
    from glance_stream.cli.session import with_site

    check_stores(given["stores"], given["all_stores"], "--store")
    limit = _limit(max_size)
    properties = _properties(given.pop("properties"))
    return with_site(invocation, lambda site: _import(invocation, _limited(site, limit), properties, given))


async def _import(invocation: Invocation, site: Site, properties: dict[str, str], given: dict[str, Any]) -> Result:
    import asyncio
    import time
    from datetime import UTC, datetime

    from glance_stream.cli.results import failed, succeeded
    from glance_stream.errors import GlanceStreamError, InvalidRequest
    from glance_stream.importing import import_image

    algorithms = [given["hash_algo"] or "", *(text.partition(":")[0] for text in (*given["expect"], *given["expect_compressed"]))]
    try:
        request = _request(site, properties, **given)
    except InvalidRequest as error:
        raise _suggesting(error, algorithms) from error
    assert request.image_id is not None
    began, since, reporter = time.monotonic(), datetime.now(UTC), invocation.reporter

    def held(image_id: str) -> None:
        reporter.image_id = image_id
        if given["image_id"] is None:
            reporter.chosen(image_id)

    try:
        outcome = await import_image(site, request, reporter.progress, held)
    except (GlanceStreamError, asyncio.CancelledError) as error:
        reporter.trace()
        told = _suggesting(error, algorithms) if isinstance(error, InvalidRequest) else error
        return await failed(site, request.image_id, told, since, undone=request.all_stores_must_succeed)
    return succeeded(outcome, "imported", time.monotonic() - began)


def _suggesting(error: InvalidRequest, algorithms: list[str]) -> InvalidRequest:
    """The refusal of an unknown digest, with the one that may have been meant."""
    import difflib
    import hashlib

    from glance_stream.errors import InvalidRequest

    known = sorted(name for name in hashlib.algorithms_available if not name.startswith("shake"))
    for name in algorithms:
        if name and name not in known and name in str(error) and type(error) is InvalidRequest:
            near = difflib.get_close_matches(name.lower(), known, 1)
            return InvalidRequest(f"{error}; did you mean {near[0]!r}?" if near else f"{error}; known are {', '.join(known)}")
    return error


def _request(
    site: Site,
    properties: dict[str, str],
    *,
    source: str,
    stores: tuple[str, ...],
    best_effort: bool,
    expect: tuple[str, ...],
    expect_compressed: tuple[str, ...],
    image_id: str | None,
    name: str | None,
    **same: Any,
) -> ImportRequest:
    """``same``: options that are called as the request's fields are."""
    import uuid
    from functools import partial

    from glance_stream.cli.session import is_id
    from glance_stream.errors import InvalidRequest
    from glance_stream.importing import ImportRequest
    from glance_stream.sources import open_source
    from glance_stream.sources.url_rules import allows, peers_of
    from glance_stream.transfer import Expectation

    if image_id is not None and not is_id(image_id):
        raise InvalidRequest(
            f"--id {image_id!r} is not a full UUID, such as {uuid.uuid4()}: an import does not take the beginning of an id; "
            "'glance-stream list' shows whole ones"
        )
    rules = site.import_filters
    return ImportRequest(
        source=open_source(
            source, allow=None if rules is None else partial(allows, rules), allowed=peers_of(rules, site.source_addresses)
        ),
        stores=stores or None,
        all_stores_must_succeed=not best_effort,
        expected=[Expectation.parse(text) for text in expect],
        expected_compressed=[Expectation.parse(text) for text in expect_compressed],
        # Chosen here, so that it can be named also when the import fails.
        image_id=str(uuid.uuid4()) if image_id is None else image_id.lower(),
        name=name or None,
        properties=properties,
        **same,
    )


def _properties(pairs: tuple[str, ...]) -> dict[str, str]:
    properties = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{pair!r} is not of the form KEY=VALUE", param_hint="--property")
        if key in properties:
            raise click.BadParameter(f"{key!r} is given twice", param_hint="--property")
        properties[key] = value
    return properties


def _limit(text: str | None) -> int | None:
    from glance_stream.config import parse_size

    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--max-size") from error


def _limited(site: Site, max_size: int | None) -> Site:
    from dataclasses import replace

    if max_size is None:
        return site
    limits = site.limits
    return replace(site, limits=replace(limits, decode=replace(limits.decode, max_size=max_size)))
