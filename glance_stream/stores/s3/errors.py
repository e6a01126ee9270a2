"""What S3 servers refuse with, and what fails on the way to them, as errors of this package.

Only a refusal's code is repeated, never its text: servers quote the request there, and with it what signed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glance_stream.errors import (
    Duplicate,
    GlanceStreamError,
    NotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.sources.http_answer import Answer

INSTALL = "botocore is not installed: pip install 'glance-stream[s3]', or the package python3-botocore of Debian"

NO_BUCKET = "create the bucket, correct its name, or set create_bucket = true"

# Quota is a 403 on radosgw, a 413 on Swift; MinIO has codes of its own.
_FULL = {"EntityTooLarge", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_FULL_STATUS = {413, 507}
_DENIED_STATUS = {401, 403}
_GONE = {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}
_PASSING = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError"}
_PASSING |= {
    "BadDigest",
    "XAmzContentChecksumMismatch",
}  # the bytes were changed on their way: those that are sent again may not be
_PASSING_STATUS = {408, 425, 429}  # beside every 5xx
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")


class BucketGone(StoreError):
    """There is no such bucket, and so nothing of ours in it."""


def refusal(store_id: str, what: str, status: int, code: str, retry_after: float | None = None) -> StoreError:
    """The error that an answer means. ``code``: S3's own word for it, "" where there was none (the answer to a HEAD)."""
    said = f"{what}: {code or 'refused'} (status {status})"
    if code == "NoSuchBucket":
        return BucketGone(store_id, f"{said}: {NO_BUCKET}")
    if code in _FULL or status in _FULL_STATUS:
        return StoreFull(store_id, said)
    if status in _DENIED_STATUS:
        return StoreDenied(store_id, said)
    if code in _PASSING or status in _PASSING_STATUS or (status >= 500 and status != 501):
        return StoreUnavailable(store_id, said, retry_after=retry_after)
    if status == 412:
        return Duplicate(store_id, f"{what}: an object of that name is there already")
    if code in _GONE or status == 404:
        return NotFound(store_id, said)
    return StoreError(store_id, said)


def code_in(body: bytes) -> str:
    """The code in the XML of a refusal, "" if there is none."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


@contextmanager
def mapped(store_id: str, what: str) -> Iterator[None]:
    """The edge where botocore's errors become ours. Imports nothing that is not there already."""
    try:
        yield
    except GlanceStreamError:
        raise
    except Exception as error:
        from botocore import exceptions as sdk  # type: ignore[import-untyped]
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

        if isinstance(error, sdk.ClientError):
            raise _refused(store_id, what, error.response) from None  # its text is the server's
        if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
            raise StoreDenied(store_id, f"{what}: no usable credentials: set access_key and secret_key") from error
        if isinstance(error, sdk.ConnectTimeoutError | sdk.ReadTimeoutError):
            raise StoreTimeout(store_id, f"{what}: timed out") from error
        if isinstance(error, sdk.SSLError):
            raise StoreError(
                store_id, f"{what}: the server's certificate is not trusted: name its CA with the option ca"
            ) from error
        if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError | ResponseParserError):
            raise StoreUnavailable(store_id, f"{what}: {type(error).__name__}") from error
        if isinstance(error, sdk.BotoCoreError):
            raise StoreError(store_id, f"{what}: {type(error).__name__}") from error
        if isinstance(error, ValueError):  # an endpoint or a name that it can't make a request of
            raise StoreError(store_id, f"{what}: botocore can't use the endpoint, the bucket's name or the region") from error
        raise


def _refused(store_id: str, what: str, response: dict[str, Any]) -> StoreError:
    facts = response.get("ResponseMetadata", {})
    headers = {name.lower(): value for name, value in facts.get("HTTPHeaders", {}).items()}
    status = int(facts.get("HTTPStatusCode", 0))
    code = str(response.get("Error", {}).get("Code", ""))
    return refusal(store_id, what, status, "" if code.isdigit() else code, Answer(status, headers).retry_after)
