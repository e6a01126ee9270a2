"""Images in an S3 bucket, laid out as glance_store's S3 driver does: one object each, whose key is the image id.

botocore resolves, signs, lists and completes; the bytes go over connections of our own (``wire.py``, ``reader.py``). obstore
moves them as cheaply but shows no upload id, does not say when it completes, and has one fixed size for all parts. botocore's own
path costs more CPU, and an upload in it can't be cut off.

Bodies are not part of the signature: hashing them with SHA-256 would cost more than all the rest. TLS protects them on the way,
and each part carries a checksum (option ``checksum``). CRC32 costs 0.03 CPU seconds per GB; AWS and Swift check it, radosgw 16
does not: there, over plain http, each part has its MD5.

Limits. An upload has no name of the writer's choice, so what a dead writer left is found by its key and time: `discard` removes
every upload of that key begun since the writer was made (less 15 minutes, the most that clocks can differ), but for those that
live writers of this process own. Two catalogues that write the same image id into one bucket at once would remove each other's.
`strays` lists the uploads whose keys are UUIDs, as Glance's image ids are, and can't tell whether another program began them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from glance_stream import threads
from glance_stream.config import ByteSize
from glance_stream.errors import InvalidRequest, NotFound, StoreError, StoreReadOnly
from glance_stream.model import Location
from glance_stream.sources import http_limits
from glance_stream.sources.base import Source
from glance_stream.sources.http_address import parse
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer, require_safe_name
from glance_stream.stores.s3.client import Bucket, S3Settings
from glance_stream.stores.s3.doubt import CLOCK_SKEW, has_published, remove_uploads
from glance_stream.stores.s3.errors import NO_BUCKET, BucketGone
from glance_stream.stores.s3.names import Place
from glance_stream.stores.s3.parts import LARGEST_PART, SMALLEST_PART
from glance_stream.stores.s3.reader import StoredInS3
from glance_stream.stores.s3.writer import S3Writer, WriterOptions

PART_SIZE = 8 << 20
PARTS_IN_FLIGHT = 4

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_ENDPOINT_HINT = "endpoint: write a host, or http(s)://host:port without credentials"
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class S3Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "s3"`` store.

    ``endpoint``: a URL, or a host for http as in glance_store; AWS over https without it. Without ``access_key`` botocore looks for
    credentials where it always does: environment, profile, instance role. ``part_size``: a size such as "8 MiB"; a writer holds
    ``parts_in_flight`` of them in memory. ``checksum`` of each part: "crc32", "md5" for servers that check only that, "none".
    "auto" is CRC32, and over plain http MD5 where the server does not confirm it (radosgw), for 1.6 CPU seconds per GB.
    In seconds: ``connect_timeout``; ``read_timeout`` for silence.
    """

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    ca: str | None = None
    create_bucket: bool = False
    part_size: ByteSize = ByteSize(PART_SIZE)
    parts_in_flight: Annotated[int, msgspec.Meta(ge=2, le=64)] = PARTS_IN_FLIGHT
    checksum: Literal["auto", "crc32", "md5", "none"] = "auto"
    connect_timeout: Seconds = http_limits.CONNECT_SECONDS
    read_timeout: Seconds = http_limits.IDLE_SECONDS

    def __post_init__(self) -> None:
        if not SMALLEST_PART <= self.part_size <= LARGEST_PART:
            raise ValueError(f"part_size: write 5 MiB to 5 GiB, not {self.part_size}")

    def __repr__(self) -> str:
        return f"S3Options(bucket={self.bucket!r}, endpoint={self.endpoint!r})"

    def settings(self) -> S3Settings:
        """Raises ValueError, which quotes no option."""
        endpoint = self.endpoint
        if endpoint is not None and "://" not in endpoint:
            endpoint = f"http://{endpoint}"
        if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
            raise ValueError(_ENDPOINT_HINT)
        try:
            endpoint is None or parse(endpoint)
        except InvalidRequest as error:
            raise ValueError(_ENDPOINT_HINT) from error
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError("bucket: not a bucket's name")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        return S3Settings(
            self.bucket,
            endpoint,
            self.region,
            self.access_key,
            self.secret_key,
            self.session_token,
            self.addressing_style,
            self.ca,
            HttpLimits(self.connect_timeout, self.read_timeout, redirects=0),
        )


class S3Store(Store):
    """A bucket, of AWS or of any server that speaks S3.

    Memory of a writer: ``parts_in_flight x part_size``, 32 MiB by default. An image that needs parts so large that two of them are
    more has two: 210 MiB at a known size of 1 TiB, 1 GiB at 5 TiB; twice that when the size is not known.

    What the credentials must permit: ListBucket, ListBucketMultipartUploads, ListMultipartUploadParts, AbortMultipartUpload,
    GetObject, PutObject, DeleteObject.
    """

    type = "s3"

    def __init__(
        self,
        store_id: str,
        settings: S3Settings,
        *,
        read_only: bool = False,
        create_bucket: bool = False,
        part_size: int = PART_SIZE,
        parts_in_flight: int = PARTS_IN_FLIGHT,
        checksum: str = "auto",
    ) -> None:
        self.store_id = store_id
        self.traits = Traits(read_only=read_only, marked=True, resumable=True)
        self._settings = settings
        self._place = Place(settings.scheme, settings.host, settings.bucket)
        self._bucket = Bucket(store_id, settings)
        self._create = create_bucket and not read_only
        self._writing = WriterOptions(part_size, part_size * parts_in_flight, checksum, settings.limits, settings.ca)
        self._uploads: dict[str, str] = {}
        self._opened = False

    @classmethod
    def from_options(cls, store_id: str, options: S3Options, *, read_only: bool = False) -> S3Store:
        try:
            settings = options.settings()
        except ValueError as error:
            raise InvalidRequest(f"store {store_id!r}: {error}") from error
        return cls(
            store_id,
            settings,
            read_only=read_only,
            create_bucket=options.create_bucket,
            part_size=options.part_size,
            parts_in_flight=options.parts_in_flight,
            checksum=options.checksum,
        )

    @property
    def where(self) -> str:
        return self._place.url

    async def open(self) -> None:
        """Makes nothing: a bucket that is still to be made is made by the first writer."""
        if not self._opened:
            self._opened = await threads.call(self._open)

    def _open(self) -> bool:
        """Whether the bucket is there."""
        there = self._bucket.exists()
        if not there and not self._create:
            raise BucketGone(self.store_id, f"there is no bucket {self._settings.bucket}: {NO_BUCKET}")
        return there

    def _prepare(self) -> None:
        if not self._opened and not self._open():
            self._bucket.create()
        self._opened = True

    def writer(self, image_id: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        return S3Writer(self.store_id, self._bucket, self._place, image_id, self._writing, self._uploads, self._prepare)

    def resume(self, image_id: str, trace: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        left = self._place.parse_trace(trace)
        if left is None or left.writer is None or left.key != image_id:
            raise StoreError(self.store_id, f"not the trace of a writer of image {image_id} in this store")
        return S3Writer(self.store_id, self._bucket, self._place, image_id, self._writing, self._uploads, self._prepare, left=left)

    def open_reader(self, location: Location) -> Source:
        key = self._key(location)
        name = self._place.location(key)
        return StoredInS3(self.store_id, name, self._bucket, key, self._settings.limits, self._settings.ca)

    async def stat(self, location: Location) -> ObjectStat:
        return await threads.call(self._stat, self._key(location))

    def _stat(self, key: str) -> ObjectStat:
        found = self._bucket.head(key)
        if found is None:
            self._bucket.require()
            raise NotFound(self.store_id, f"{self._place.location(key)} is not there")
        return ObjectStat(size=found.size)

    async def delete(self, location: Location) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        await threads.call(self._delete, self._key(location))

    def _delete(self, key: str) -> None:
        self._stat(key)  # S3 says nothing of a deletion that finds nothing
        self._bucket.delete(key)

    async def discard(self, trace: str) -> None:
        await threads.call(self._discard, trace)

    def _discard(self, trace: str) -> None:
        found = self._place.parse_trace(trace)
        if found is None:
            raise StoreError(self.store_id, "not a trace of this store")
        if found.upload_id is not None:
            self._bucket.remove_upload(found.key, found.upload_id)
        else:
            remove_uploads(self._bucket, found.key, found.since, trace, self._uploads)

    async def published(self, trace: str) -> Location | None:
        """Where nothing is there, certain only an hour after the writer was made, and once its uploads are gone (``doubt.py``)."""
        found = self._place.parse_trace(trace)
        if found is None:
            raise StoreError(self.store_id, "not a trace of this store")
        there = await threads.call(has_published, self.store_id, self._bucket, trace, found, self._uploads)
        return Location(self._place.location(found.key), self.store_id) if there else None

    async def strays(self) -> list[Stray]:
        """Of an upload that a writer of this process began, that writer's trace; of any other one that names the upload."""
        return await threads.call(self._strays)

    def _strays(self) -> list[Stray]:
        strays = []
        for upload in self._bucket.uploads():
            facts = self._bucket.parts(upload) if _UUID.fullmatch(upload.key) else None
            if facts is not None:
                size, newest = facts
                trace = self._uploads.get(upload.upload_id) or self._place.upload_trace(upload.key, upload.upload_id)
                strays.append(Stray(trace, upload.key, max(0.0, self._bucket.now() - newest), size))
        return strays

    async def sweep(self, older_than: float, spare: Collection[str] = ()) -> list[Stray]:
        """Spares each upload too that a writer whose trace is to be spared may have begun."""
        return await super().sweep(older_than, {*spare, *await threads.call(self._spared, spare)})

    def _spared(self, spare: Collection[str]) -> list[str]:
        writers = [trace for trace in map(self._place.parse_trace, spare) if trace is not None and trace.writer is not None]
        return [
            self._place.upload_trace(upload.key, upload.upload_id)
            for upload in (self._bucket.uploads() if writers else ())
            if any(upload.key == writer.key and upload.begun >= writer.since - CLOCK_SKEW for writer in writers)
        ]

    async def find(self, image_id: str) -> Location | None:
        require_safe_name(image_id)
        try:
            await threads.call(self._stat, image_id)
        except NotFound:
            return None
        return Location(self._place.location(image_id), self.store_id)

    def owns(self, url: str) -> bool:
        return self._place.key_of(url) is not None

    async def close(self) -> None:
        await threads.call(self._bucket.close)

    def _key(self, location: Location) -> str:
        key = self._place.key_of(location.url)
        if key is None:
            raise StoreError(self.store_id, f"the location is not in {self.where}")
        return key
