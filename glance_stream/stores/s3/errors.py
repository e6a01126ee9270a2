"""What S3 servers refuse with, and what fails on the way to them, as errors of this package.

Only a refusal's code is repeated, never its text: servers quote the request there, and with it what signed it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

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
from glance_stream.sources.tls_refusal import tls_refusal

T = TypeVar("T", bound=BaseException)

INSTALL = "botocore is not installed: pip install 'glance-stream[s3]', or the package python3-botocore of Debian"

NO_BUCKET = "create the bucket, correct its name, or set create_bucket = true"

# Quota is a 403 on radosgw, a 413 on Swift; MinIO has codes of its own.
_FULL = {"EntityTooLarge", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_FULL_STATUS = {413, 507}
_DENIED_STATUS = {401, 403}
# What to look at; a server that was asked with HEAD gives no code.
_DENIED = {
    "AccessDenied": "the credentials are known and may not do that: look at the bucket's policy and at whose bucket it is",
    "ExpiredToken": "session_token has run out",
    "InvalidAccessKeyId": "the server does not know access_key",
    "InvalidToken": "session_token is not valid",
    "RequestTimeTooSkewed": "this machine's clock differs from the server's",
    "SignatureDoesNotMatch": "secret_key is not that of access_key, or region is not the server's",
}
_DENIED_UNSAID = "look at access_key, secret_key and region, and at what they may do in the bucket"
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
        return StoreDenied(store_id, f"{said}: {_DENIED.get(code, _DENIED_UNSAID)}")
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
            raise StoreTimeout(store_id, f"{what}: {_server(error)} timed out") from error
        tls = _cause(error, ssl.SSLError)
        if tls is not None and (refused := tls_refusal(tls, _server(error))) is not None:
            raise StoreError(store_id, f"{what}: {refused}") from error
        if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError | ResponseParserError):
            raise StoreUnavailable(store_id, f"{what}: {_failure(error)}") from error
        if isinstance(error, sdk.BotoCoreError):
            raise StoreError(store_id, f"{what}: {type(error).__name__}") from error
        if isinstance(error, ValueError):  # an endpoint or a name that it can't make a request of
            raise StoreError(store_id, f"{what}: botocore can't use the endpoint, the bucket's name or the region") from error
        raise


def _failure(error: Exception) -> str:
    """Which server, and what the system says. botocore's own texts repeat the request."""
    cause = _cause(error, OSError)
    reason = cause.strerror if cause is not None and cause.strerror else type(error).__name__
    return f"no connection to {_server(error)}: {reason}" if type(error).__name__ == "EndpointConnectionError" else reason


def _server(error: Exception) -> str:
    """Host and port of the request, without what a URL may hold beside."""
    address = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or ""))
    return address.netloc.rpartition("@")[2] or "the server"


def _cause(error: BaseException | None, kind: type[T]) -> T | None:
    """The innermost of this kind: what botocore wraps is given along, or is the cause of what is."""
    found = None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, kind):
            found = error
        given = getattr(error, "kwargs", {}).get("error") or getattr(error, "reason", None)
        error = given if isinstance(given, BaseException) else error.__cause__ or error.__context__
    return found


def _refused(store_id: str, what: str, response: dict[str, Any]) -> StoreError:
    facts = response.get("ResponseMetadata", {})
    headers = {name.lower(): value for name, value in facts.get("HTTPHeaders", {}).items()}
    status = int(facts.get("HTTPStatusCode", 0))
    code = str(response.get("Error", {}).get("Code", ""))
    return refusal(store_id, what, status, "" if code.isdigit() else code, Answer(status, headers).retry_after)
