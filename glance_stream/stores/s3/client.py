"""What this store asks of an S3 server beside moving bytes: through botocore, whose errors end here. All of it blocks."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from glance_stream.errors import NotFound, StoreDenied, StoreError, StoreUnavailable
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores.s3.errors import INSTALL, NO_BUCKET, BucketGone, mapped

WRITER = "glance-stream-writer"  # metadata of an object: which writer made it
_ABORTS = 6  # a part that was under way when its upload was aborted may come in afterwards (S3's documentation)
_AWS = "s3.amazonaws.com"


@dataclass(frozen=True)
class S3Settings:
    """``endpoint``: a URL, None for AWS. Without ``access_key`` botocore looks where it always does."""

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    addressing_style: str = "auto"
    ca: str | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)

    @property
    def host(self) -> str:
        return _AWS if self.endpoint is None else self.endpoint.partition("://")[2].strip("/")

    @property
    def scheme(self) -> str:
        return "s3" if self.endpoint is not None and self.endpoint.startswith("http://") else "s3+https"


@dataclass(frozen=True)
class S3Object:
    """``writer``: what the writer of ours that made it has put into its metadata."""

    size: int
    writer: str | None
    etag: str = ""


@dataclass(frozen=True)
class Upload:
    """A multipart upload that is neither completed nor aborted. ``begun``: seconds since 1970, by the server's clock."""

    key: str
    upload_id: str
    begun: float


@dataclass(frozen=True)
class SentPart:
    """A part that the server has. ``checksum``: the header it was sent with, if any."""

    number: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True)
class ListedPart:
    """A part as the server lists it. ``modified``: seconds since 1970, by its clock. ``checksum``: its CRC32, if it has one."""

    number: int
    size: int
    etag: str
    checksum: str | None
    modified: float


@dataclass(frozen=True)
class ListedParts:
    """``algorithm``: of their checksums, as far as the server tells."""

    parts: list[ListedPart]
    algorithm: str | None


@functools.cache
def _descriptions() -> Any:
    """botocore's descriptions of the service, read once for all stores: they take most of the time to set up a client."""
    from botocore.loaders import create_loader  # type: ignore[import-untyped]

    return create_loader()


class Bucket:
    """One bucket. The client is made when it is first needed: importing and setting up botocore takes 0.2 s.

    ``confirms_crc32``: whether the server's answer to a part repeats the CRC32 that it was sent with; None until one was sent.
    """

    confirms_crc32: bool | None = None

    def __init__(self, store_id: str, settings: S3Settings) -> None:
        self._store_id = store_id
        self._settings = settings
        self._region = settings.region
        self._located = settings.endpoint is not None
        self._lock = threading.Lock()
        self._made: Any = None
        self._credentials: Any = None
        self._skew = 0.0  # the server's clock less ours

    # -- the bucket -----------------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Raises StoreDenied, StoreError."""
        try:
            with mapped(self._store_id, f"bucket {self._settings.bucket}"):
                said = self._client().head_bucket(Bucket=self._settings.bucket)
        except NotFound:
            return False
        self._located = True
        headers = said["ResponseMetadata"]["HTTPHeaders"]
        self._learn_region(headers.get("x-amz-bucket-region"))
        return True

    def require(self) -> None:
        """Raises StoreError if there is no such bucket: then no object is known to be missing."""
        if not self.exists():
            raise BucketGone(self._store_id, f"there is no bucket {self._settings.bucket}: {NO_BUCKET}")

    def create(self) -> None:
        client = self._client()
        where = {} if self._region in (None, "us-east-1") else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        owned = client.exceptions.BucketAlreadyOwnedByYou
        with mapped(self._store_id, f"creating bucket {self._settings.bucket}"), suppress(owned):
            client.create_bucket(Bucket=self._settings.bucket, **where)

    # -- objects --------------------------------------------------------------------------------------------------------------

    def head(self, key: str) -> S3Object | None:
        """None where no such object is. Raises StoreError."""
        try:
            with mapped(self._store_id, key):
                said = self._client().head_object(**self._named(key))
        except NotFound:
            return None
        return S3Object(said["ContentLength"], said.get("Metadata", {}).get(WRITER), said.get("ETag", ""))

    def delete(self, key: str) -> None:
        with mapped(self._store_id, f"deleting {key}"):
            self._client().delete_object(**self._named(key))

    def url(self, key: str) -> str:
        """Of the object, without a signature."""
        self._locate()
        client = self._client()
        with mapped(self._store_id, key):
            signed: str = client.generate_presigned_url("get_object", Params=self._named(key))
        return signed.partition("?")[0]

    def signed(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers, and those that sign them and the URL, but not the body: what cares for that is said in ``store.py``."""
        from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

        client = self._client()
        with mapped(self._store_id, "signing"):
            request = AWSRequest(method, url, headers=dict(headers or {}))
            request.context["client_config"] = client.meta.config
            if self._credentials is not None:
                S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
            else:
                raise StoreError(self._store_id, "no credentials: set access_key and secret_key")
        return dict(request.headers.items())

    # -- multipart uploads ----------------------------------------------------------------------------------------------------

    def create_upload(self, key: str, writer: str, checksum: str | None) -> str:
        """Its id. Where this fails there may be one all the same."""
        more = {"ChecksumAlgorithm": checksum} if checksum else {}
        with mapped(self._store_id, f"beginning the upload of {key}"):
            said = self._client().create_multipart_upload(**self._named(key), Metadata={WRITER: writer}, **more)
        return str(said["UploadId"])

    def complete(self, key: str, upload_id: str, parts: list[SentPart]) -> str:
        """The object's ETag. Raises Duplicate where the server can tell, StoreError.

        An error may come with status 200: botocore makes one of it.
        """
        listed = [
            {"PartNumber": part.number, "ETag": part.etag} | ({"ChecksumCRC32": part.checksum} if part.checksum else {})
            for part in parts
        ]
        with mapped(self._store_id, f"completing the upload of {key}"):
            said = self._client().complete_multipart_upload(
                **self._named(key), UploadId=upload_id, MultipartUpload={"Parts": listed}, IfNoneMatch="*"
            )
        return str(said.get("ETag", ""))

    def uploads(self, key: str = "") -> list[Upload]:
        """Those of the key, or all."""
        found = []
        with suppress(BucketGone), mapped(self._store_id, "listing the unfinished uploads"):
            pages = self._client().get_paginator("list_multipart_uploads").paginate(Bucket=self._settings.bucket, Prefix=key)
            for page in pages:
                self._set_clock(page)
                for each in page.get("Uploads", ()):
                    if key in ("", each["Key"]):
                        found.append(Upload(each["Key"], each["UploadId"], each["Initiated"].timestamp()))
        return found

    def parts(self, upload: Upload) -> tuple[int, float] | None:
        """Bytes in the upload's parts and when its newest came in; None if there is no such upload."""
        listed = self.listed_parts(upload)
        if listed is None:
            return None
        return sum(part.size for part in listed.parts), max([upload.begun, *(part.modified for part in listed.parts)])

    def listed_parts(self, upload: Upload) -> ListedParts | None:
        """None if there is no such upload."""
        found = []
        algorithm = None
        try:
            with mapped(self._store_id, f"listing the parts of an upload of {upload.key}"):
                pages = self._client().get_paginator("list_parts").paginate(**self._named(upload.key), UploadId=upload.upload_id)
                for page in pages:
                    algorithm = page.get("ChecksumAlgorithm")
                    found += [_listed(part) for part in page.get("Parts", ())]
        except NotFound:
            return None
        return ListedParts(found, algorithm)

    def remove_upload(self, key: str, upload_id: str) -> None:
        """Abort until the server has nothing of it any more. None there is fine."""
        upload = Upload(key, upload_id, 0.0)
        for turn in range(_ABORTS):
            time.sleep(0.1 * 2**turn if turn else 0)
            try:
                with mapped(self._store_id, f"aborting the upload of {key}"):
                    self._client().abort_multipart_upload(**self._named(key), UploadId=upload_id)
            except (NotFound, BucketGone):
                return
            if self.parts(upload) is None:
                return
        raise StoreUnavailable(self._store_id, f"the upload of {key} is still there after {_ABORTS} aborts")

    def now(self) -> float:
        """Seconds since 1970 by the server's clock, as of its last listing."""
        return time.time() + self._skew

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    # -- the client -----------------------------------------------------------------------------------------------------------

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._settings.bucket, "Key": key}

    def _set_clock(self, page: Any) -> None:
        with suppress(KeyError, ValueError, TypeError):
            said: datetime = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            self._skew = said.timestamp() - time.time()

    def _learn_region(self, region: str | None) -> None:
        """AWS says where the bucket is; a request signed for another region would be refused."""
        if region and self._settings.endpoint is None and region != self._region:
            self.close()
            self._region = region

    def _locate(self) -> None:
        """Whoever may read an object need not be allowed to look at its bucket; it is then taken to be where it was said to be."""
        if not self._located:
            with suppress(StoreDenied):
                self.exists()
            self._located = True

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        try:
            import botocore.session  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
        except ImportError as error:
            raise StoreError(self._store_id, INSTALL) from error
        settings = self._settings
        session = botocore.session.get_session()
        session.register_component("data_loader", _descriptions())
        if settings.access_key is not None:
            session.set_credentials(settings.access_key, settings.secret_key, settings.session_token)
        with mapped(self._store_id, "setting up"):
            self._credentials = session.get_credentials()
            self._region = self._region or session.get_config_variable("region") or "us-east-1"
            return session.create_client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=self._region,
                verify=settings.ca,
                config=Config(
                    s3={"addressing_style": settings.addressing_style, "payload_signing_enabled": False},
                    signature_version="s3v4",
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    retries={"total_max_attempts": 1},  # whoever asks knows what may be asked again, and how often
                    connect_timeout=settings.limits.connect_seconds,
                    read_timeout=settings.limits.idle_seconds,
                    proxies={},
                ),
            )


def _listed(part: Mapping[str, Any]) -> ListedPart:
    return ListedPart(part["PartNumber"], part["Size"], part["ETag"], part.get("ChecksumCRC32"), part["LastModified"].timestamp())
