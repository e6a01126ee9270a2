"""Reading an image of a Swift store: one long GET, resumed at the exact byte with the object's ETag when it breaks."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from glance_stream.errors import GlanceStreamError, ObjectDamaged, SourceError, SourceNotFound, StoreError
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.http import HttpSource
from glance_stream.sources.http_address import Address
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_wire import Broken, Wire, final
from glance_stream.stores.swift.client import SwiftClient

TRIES = 3  # in a row without a new byte: whoever reads tries again too

_MD5 = re.compile(r"[0-9a-f]{32}")


class StoredInSwift(Source):
    """An object as a source, whatever it is made of."""

    def __init__(self, client: SwiftClient, image_id: str) -> None:
        self.name = f"{client.container}/{image_id} of store {client.store_id!r}"
        self._client = client
        self._image_id = image_id
        self._lock = threading.Lock()
        self._interrupted = False
        self._source: HttpSource | None = None

    def open(self) -> SourceInfo:
        if self._source is None:
            address = self._client.authentication.access().address(self._client.path(self._image_id))
            with self._lock:
                self._source = _Object(self.name, self._client, address)
                if self._interrupted:
                    self._source.interrupt()
        try:
            return self._source.open()
        except SourceNotFound as error:
            with self._client.session() as session:
                raise session.missing(self._image_id) from error
        except SourceError as error:
            self._require_segments(error)
            raise

    def readinto(self, view: memoryview) -> int:
        try:
            return self._opened().readinto(view)
        except SourceError as error:
            self._require_segments(error)
            raise

    def reopen(self, offset: int) -> None:
        try:
            self._opened().reopen(offset)
        except SourceError as error:
            self._require_segments(error)
            raise

    def _require_segments(self, error: SourceError) -> None:
        """Raises ObjectDamaged if the reading failed because a segment is gone."""
        if self._interrupted:
            return
        try:
            with self._client.session() as session:
                lost = session.lost_segment(self._image_id)
        except GlanceStreamError:
            return  # the first error says as much
        if lost is not None:
            message = f"{self._client.container}/{self._image_id} can't be read whole: its segment {lost} is gone"
            raise ObjectDamaged(self._client.store_id, message) from error

    def _opened(self) -> HttpSource:
        if self._source is None:
            raise SourceError(f"{self.name} is not open")
        return self._source

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted = True
            if self._source is not None:
                self._source.interrupt()

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


class _Object(HttpSource):
    """Swift knows no If-Range, so what makes a resume safe is that each answer tells the ETag, which is compared."""

    def __init__(self, name: str, client: SwiftClient, address: Address) -> None:
        network = client.network
        # No redirects: they would be shown the token.
        limits = HttpLimits(connect_seconds=network.connect_timeout, idle_seconds=network.read_timeout, tries=TRIES, redirects=0)
        super().__init__(address, limits=limits)
        self.name = name
        self._wire = _SwiftWire(client, limits)


class _SwiftWire(Wire):
    """Adds the token, renews it when it is refused, and reads Swift's bare MD5 as the strong ETag that it is."""

    def __init__(self, client: SwiftClient, limits: HttpLimits) -> None:
        super().__init__(limits, client.network.ca)
        self._client = client

    def exchange(self, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        authentication = self._client.authentication
        try:
            access = authentication.access()
            answer = super().exchange(method, address, {**headers, "X-Auth-Token": access.token})
            if answer.status == 401:
                access = authentication.access(refused=access)
                answer = super().exchange(method, address, {**headers, "X-Auth-Token": access.token})
        except StoreError as error:
            if error.retryable:
                raise Broken(str(error), retry_after=error.retry_after) from error
            raise final(str(error)) from error
        etag = answer.etag
        return Answer(answer.status, {**answer.headers, "etag": f'"{etag}"'}) if _MD5.fullmatch(etag) else answer

    def _dial(self, address: Address) -> Any:
        made: Any = super()._dial(address)
        if address.scheme == "https" and self._client.network.insecure:
            made.ssl_context = self._client.network.trust
            made.cert_reqs = self._client.network.trust.verify_mode
        return made
