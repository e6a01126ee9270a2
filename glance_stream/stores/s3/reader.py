"""Reading one object: a signed GET over a connection that another thread can cut, resumed where it broke.

It is the HTTP source (ranges joined only under the same strong ETag and size), with each request signed anew: a signed URL would
run out while a large image is read, and temporary credentials change.
"""

from __future__ import annotations

from dataclasses import replace

from glance_stream.errors import NotFound, SourceError, SourceNotFound
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.http import HttpSource
from glance_stream.sources.http_address import Address
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_peers import peers
from glance_stream.stores.s3.client import Bucket

TRIES = 3  # in a row without a new byte: whoever reads tries again too


class SignedSource(HttpSource):
    """An HTTP source whose requests carry the bucket's signature."""

    def __init__(self, bucket: Bucket, url: str, limits: HttpLimits, ca: str | None) -> None:
        super().__init__(url, limits=limits, ca=ca, allowed=peers("any"))  # the operator's own endpoint
        unsigned = self._told

        def told(at: Address) -> dict[str, str]:
            return {**unsigned(at), **bucket.signed("GET", at.url)} if at.origin == self._address.origin else unsigned(at)

        self._told = told


class StoredInS3(Source):
    """One object. What is asked of the server is asked when it is opened."""

    def __init__(self, store_id: str, name: str, bucket: Bucket, key: str, limits: HttpLimits, ca: str | None) -> None:
        self.name = name
        self._store_id = store_id
        self._bucket = bucket
        self._key = key
        self._limits = replace(limits, tries=min(limits.tries, TRIES))
        self._ca = ca
        self._inner: SignedSource | None = None
        self._interrupted = False

    def open(self) -> SourceInfo:
        inner = self._inner = SignedSource(self._bucket, self._bucket.url(self._key), self._limits, self._ca)
        if self._interrupted:
            inner.interrupt()
        try:
            return inner.open()
        except SourceNotFound as error:
            self._bucket.require()
            raise NotFound(self._store_id, f"{self.name} is not there") from error

    def reopen(self, offset: int) -> None:
        self._opened().reopen(offset)

    def readinto(self, view: memoryview) -> int:
        return self._opened().readinto(view)

    def _opened(self) -> SignedSource:
        if self._inner is None:
            raise SourceError(f"{self.name} is not open")
        return self._inner

    def interrupt(self) -> None:
        self._interrupted = True
        if self._inner is not None:
            self._inner.interrupt()

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
