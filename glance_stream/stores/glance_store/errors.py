"""What glance_store's drivers, and the SDKs below them, raise: as our errors, without credentials.

Classes are told by their names: the driver of a third party brings its own SDK, and none of them is imported for this.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from glance_stream.errors import (
    Duplicate,
    GlanceStreamError,
    NotFound,
    ObjectBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.stores.file.system import DENIED, FULL

# glance_store.exceptions, and what keystoneauth1 and botocore raise where no answer came.
BY_CLASS: dict[str, type[StoreError]] = {
    "NotFound": NotFound,
    "Duplicate": Duplicate,
    "StorageFull": StoreFull,
    "StorageWriteDenied": StoreDenied,
    "Forbidden": StoreDenied,
    "NotAuthenticated": StoreDenied,
    "AuthorizationFailure": StoreDenied,
    "MissingCredentialError": StoreDenied,
    "HasSnapshot": ObjectBusy,
    "InUseByStore": ObjectBusy,
    "StoreAddDisabled": StoreReadOnly,
    "StoreDeleteNotSupported": StoreReadOnly,
    "TimeoutError": StoreTimeout,
    "RemoteServiceUnavailable": StoreUnavailable,
    "BackendException": StoreUnavailable,  # rbd without a cluster, swift with any answer that it doesn't know
    "ConnectFailure": StoreUnavailable,
    "HTTPClientError": StoreUnavailable,
}
BY_STATUS = {
    401: StoreDenied,
    403: StoreDenied,
    404: NotFound,
    408: StoreTimeout,
    413: StoreFull,
    429: StoreUnavailable,
    507: StoreFull,
}


class Mask:
    """Replaces secrets in text: the values of secret options, and whatever stands before an @ in a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in (secret, quote(secret), quote(secret, ""))}
        self._secrets = sorted(forms.union(self._secrets), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return re.sub(r"(://)[^\s@]*@", r"\1***@", text)


@contextmanager
def mapped(store_id: str, mask: Mask) -> Iterator[None]:
    """The edge where a driver's exceptions become ours."""
    try:
        yield
    except GlanceStreamError:
        raise
    except Exception as error:
        translated = as_ours(store_id, error, mask)
        if mask(str(error)) != str(error):
            raise translated from None  # a traceback would print the secret
        raise translated from error


def as_ours(store_id: str, error: BaseException, mask: Mask) -> StoreError:
    """One of ours for any exception of a driver."""
    said = error if str(error) else error.__context__ or error  # rbd's BackendException is empty; what it caught says more
    name = type(error).__name__
    return _kind(error)(store_id, mask(f"{name}: {said}" if str(said) else name))


def _kind(error: BaseException) -> type[StoreError]:
    for parent in type(error).__mro__:
        if kind := BY_CLASS.get(parent.__name__):
            return kind
    status = _http_status(error)
    if status is not None:
        return BY_STATUS.get(status, StoreUnavailable if status >= 500 else StoreError)
    number = getattr(error, "errno", None)  # of the operating system, and of librados and librbd
    if number in FULL:
        return StoreFull
    if number in DENIED:
        return StoreDenied
    if number == errno.ETIMEDOUT:
        return StoreTimeout
    return StoreUnavailable if isinstance(error, OSError) else StoreError


def _http_status(error: BaseException) -> int | None:
    """swiftclient's ``http_status``, or what botocore's ClientError has in its response."""
    status = getattr(error, "http_status", None)
    if status is None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status else None
