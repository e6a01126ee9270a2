"""Importing: glance-direct and web-download in one pass (glance ``async_/flows/api_image_import.py``, without the staging)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from glance_stream import threads
from glance_stream.catalogue import Lock, Operation, Task
from glance_stream.chunker import DigestRefused, require_digest
from glance_stream.decode import choose
from glance_stream.errors import ImageNotFound, InvalidRequest
from glance_stream.importing.choosing import choose_stores
from glance_stream.importing.lease import Lease, hold
from glance_stream.importing.locking import locked
from glance_stream.importing.outcome import Outcome, read_back
from glance_stream.importing.recording import CatalogueRecorder
from glance_stream.importing.site import Site
from glance_stream.model import Image, Status
from glance_stream.sources.base import Source
from glance_stream.transfer import Expectation, Observer, Transferred, TransferRequest, transfer

# Of an image created by its import; Glance has none, but here there is no earlier step that could have set them.
DEFAULT_CONTAINER_FORMAT = "bare"
# As in Glance: what another format wraps is not looked into. Nor is it found out what it is.
INSPECTED_CONTAINER_FORMAT = "bare"
UNSEEN_DISK_FORMAT = "raw"


@dataclass(frozen=True)
class ImportRequest:
    """What to import and how. An image that is not in the catalogue is created; one that is must be queued.

    name / disk_format / container_format / properties: of a record that is created; for one that exists they may be left out and
    must agree with it. container_format is bare unless said, disk_format what the content turns out to be. So it is for a record
    without one, as an import leaves it that failed before it could tell.

    stores / all_stores / all_stores_must_succeed: as in Glance; neither of the first two means the default store.
    restart: write all anew, also where an interrupted import of the image has left something to go on with.
    hash_algo and decompress: the site's by default. For the other fields see :class:`glance_stream.transfer.TransferRequest`.
    """

    source: Source
    image_id: str | None = None
    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    stores: Sequence[str] | None = None
    all_stores: bool = False
    all_stores_must_succeed: bool = True
    hash_algo: str | None = None
    md5: bool = False
    decompress: str | None = None
    expected: Sequence[Expectation] = ()
    expected_compressed: Sequence[Expectation] = ()
    thin: bool = False
    restart: bool = False


async def import_image(
    site: Site, request: ImportRequest, observer: Observer | None = None, held: Callable[[str], None] | None = None
) -> Outcome:
    """Import one image. With all_stores_must_succeed every store has it afterwards, or the image is as it was before.

    ``held``: told the image's id as soon as it has a record and is ours, before a byte of it is read.

    Raises InvalidRequest with nothing changed; ImageLocked; and what :func:`glance_stream.transfer.transfer` raises, after
    everything was undone. The record of an image created here stays, queued and with the reasons, unless the request was bad.
    """
    check(request)
    _check_formats(site, request)
    chosen = await choose_stores(site, request.stores, request.all_stores)
    async with _held(site, request, chosen.stores) as (image, lease):
        if held is not None:
            held(image.image_id)
        done, recorded = await _import(site, lease, image, chosen.stores, request, lease.observer(observer))
    found = done.verified.disk_format
    if not (image.disk_format or request.disk_format) and found != UNSEEN_DISK_FORMAT:
        chosen = replace(chosen, notes=(*chosen.notes, f"disk_format: {found}, detected"))
    image = recorded or await read_back(site, _recorded(image, done))
    return Outcome(image, done.failures, done.leftovers, lease.notes + chosen.notes + done.notes)


def _recorded(image: Image, done: Transferred) -> Image:
    found = done.verified
    return replace(
        image,
        status=Status.ACTIVE,
        disk_format=image.disk_format or found.disk_format,
        size=found.size,
        virtual_size=found.virtual_size,
        checksum=found.checksum,
        os_hash_algo=found.os_hash_algo,
        os_hash_value=found.os_hash_value,
        locations=tuple(done.locations.values()),
    )


def check(request: ImportRequest) -> None:
    """What can be refused by looking at the request alone. Raises InvalidRequest."""
    if not isinstance(request.all_stores_must_succeed, bool):
        raise InvalidRequest("all_stores_must_succeed must be boolean value only")
    choose("auto" if request.decompress is None else request.decompress, b"")
    for expected in (*request.expected, *request.expected_compressed):
        expected.check()
    if request.hash_algo is not None:
        _check_algorithm(request.hash_algo)


def _check_algorithm(name: str) -> None:
    try:
        require_digest(name.lower())
    except DigestRefused as error:
        raise InvalidRequest(f"hash algorithm: {error}") from error


def _check_formats(site: Site, request: ImportRequest) -> None:
    known = {"disk_format": site.disk_formats, "container_format": site.container_formats}
    for name, values in known.items():
        value = getattr(request, name)
        if value is not None and value not in values:
            raise InvalidRequest(f"unknown {name} {value!r}; known are {', '.join(values)}")


@asynccontextmanager
async def _held(site: Site, request: ImportRequest, stores: Sequence[str]) -> AsyncIterator[tuple[Image, Lease]]:
    """The image, as it is now that it is ours. Its hash algorithm is one that can be computed here."""
    async with AsyncExitStack() as stack:
        image = await _found(site, request)
        if image is None:
            try:
                image, lease = await _created(site, request, stores, stack)
            except InvalidRequest:
                image = await _found(site, request)  # another request may have created it meanwhile
                if image is None:
                    raise
            else:
                yield image, lease
                return
        resume = () if request.restart else stores
        lease = await stack.enter_async_context(locked(site, image.image_id, Operation.IMPORT, resume))
        if lease.notes:  # what was there before has been ended, well or not
            image = await _existing(site, image.image_id, request)
        yield image, lease


async def _found(site: Site, request: ImportRequest) -> Image | None:
    if request.image_id is None:
        return None
    try:
        return await _existing(site, request.image_id, request)
    except ImageNotFound:
        return None


async def _created(site: Site, request: ImportRequest, stores: Sequence[str], stack: AsyncExitStack) -> tuple[Image, Lease]:
    """Its record is made, taken and begun with at once. If the request turns out to be bad it is withdrawn in the end."""
    _check_algorithm(request.hash_algo or site.hash_algo)
    image_id = str(uuid.uuid4()) if request.image_id is None else request.image_id
    container_format = request.container_format or DEFAULT_CONTAINER_FORMAT
    made: list[Image] = []

    def take() -> Lock:
        image, lock = site.catalogue.create_and_begin(
            image_id,
            Task.here(image_id, Operation.IMPORT),
            stores,
            name=request.name,
            disk_format=request.disk_format or (None if container_format == INSPECTED_CONTAINER_FORMAT else UNSEEN_DISK_FORMAT),
            container_format=container_format,
            properties=request.properties,
        )
        made.append(image)
        return lock

    async def withdraw(_kind: object, error: BaseException | None, _trace: object) -> None:
        if made and isinstance(error, InvalidRequest):
            await threads.call(site.catalogue.withdraw_image, image_id)

    stack.push_async_exit(withdraw)  # after the release
    lease = await stack.enter_async_context(hold(site.catalogue, take, has_begun=True))
    return made[0], lease


async def _existing(site: Site, image_id: str, request: ImportRequest) -> Image:
    image = await site.image(image_id)
    if image.status is Status.ACTIVE:
        raise InvalidRequest(f"image {image_id} is active already; 'copy' brings it to more stores")
    if not image.container_format:
        raise InvalidRequest(f"image {image_id}: container_format must be set before an import")
    if not (image.disk_format or request.disk_format or image.container_format == INSPECTED_CONTAINER_FORMAT):
        raise InvalidRequest(f"image {image_id}: disk_format must be set before an import")
    _check_algorithm(_hash_algo(site, image, request))
    _check_agrees(image, request)
    return image


def _check_agrees(image: Image, request: ImportRequest) -> None:
    """What is said of an image that has a record already must be what the record says: it is not changed on the way."""
    said = {"name": request.name, "disk_format": request.disk_format, "container_format": request.container_format}
    if not image.disk_format:
        del said["disk_format"]  # it is recorded when the content has been seen to be so
    recorded = {name: getattr(image, name) for name in said} | dict(image.properties)
    for name, value in {**said, **request.properties}.items():
        if value is not None and value != recorded.get(name):
            raise InvalidRequest(
                f"image {image.image_id} has {name} {recorded.get(name)!r} on record, not {value!r}; leave it out, or delete the "
                "record and import anew"
            )


def _hash_algo(site: Site, image: Image, request: ImportRequest) -> str:
    return image.os_hash_algo or request.hash_algo or site.hash_algo


def _decompress(site: Site, request: ImportRequest) -> str:
    return site.decompress if request.decompress is None else request.decompress


async def _import(
    site: Site, lease: Lease, image: Image, stores: Sequence[str], request: ImportRequest, observer: Observer | None
) -> tuple[Transferred, Image | None]:
    """And the image as it was recorded in the end, if that was heard."""
    best_effort = not request.all_stores_must_succeed
    disk_format = image.disk_format or request.disk_format
    recorder = CatalogueRecorder(site.catalogue, lease, best_effort=best_effort, disk_format=not image.disk_format)
    async with recorder.operation(stores, importing=True):
        done = await transfer(
            TransferRequest(
                image_id=image.image_id,
                source=request.source,
                stores=[site.store(store_id) for store_id in stores],
                hash_algo=_hash_algo(site, image, request),
                md5=request.md5,
                # Glance's plugin leaves these alone too: the compressed form is what the image is.
                decompress="never" if image.container_format == "compressed" else _decompress(site, request),
                expected=request.expected,
                expected_compressed=request.expected_compressed,
                best_effort=best_effort,
                thin=request.thin,
                resume=lease.left.traces,
                beginning=lease.left.beginning,
                inspection=site.inspection(disk_format) if image.container_format == INSPECTED_CONTAINER_FORMAT else None,
                limits=site.limits,
            ),
            recorder,
            observer,
        )
    return done, recorder.image
