"""What is asked of one Swift container, beside the streaming of bytes. Blocking; any thread. Nothing is asked twice.

Where the answer decides what is removed or refused, ``X-Newest`` asks all replicas: one that was away must not make a committed
image look missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from glance_stream.errors import NotFound, StoreDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from glance_stream.sources.http_answer import Answer
from glance_stream.stores.swift.auth import Access, Authentication
from glance_stream.stores.swift.connection import Connection, Network, Reply

NEWEST = {"X-Newest": "true"}

NO_CONTAINER = "create the container, correct its name, or set create_container = true"
DENIED = "look at the user's role in the project, and at the container's read and write ACL"


class SwiftClient:
    """``container`` may be missing: that is told apart from a missing object."""

    def __init__(self, network: Network, authentication: Authentication, container: str) -> None:
        self.network = network
        self.authentication = authentication
        self.container = container
        self.store_id = network.store_id

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Several requests over one connection."""
        with Connection(self.network) as connection:
            yield Session(self, connection)

    def path(self, name: str | None = None) -> str:
        """Of an object, or of the container itself, below the storage URL."""
        container = f"/{quote(self.container, safe='')}"
        return container if name is None else f"{container}/{quote(name)}"

    def refusal(self, answer: Answer, doing: str) -> StoreError:
        """What a status other than the one hoped for means."""
        status, after = answer.status, answer.retry_after
        message = f"{doing}: status {status}"
        if status in (401, 403):
            return StoreDenied(self.store_id, f"{message}: {DENIED}")
        if status in (413, 507):
            return StoreFull(self.store_id, f"{message}, no room or quota left")
        if status in (408, 504):
            return StoreTimeout(self.store_id, message, retry_after=after)
        if status == 422:
            return StoreUnavailable(self.store_id, f"{message}, other bytes came than were sent")
        if status in (429, 498, 499) or status >= 500:
            return StoreUnavailable(self.store_id, message, retry_after=after)
        return StoreError(self.store_id, message, retry_after=after)


class Session:
    """Requests one after another, for one thread."""

    def __init__(self, client: SwiftClient, connection: Connection) -> None:
        self._client = client
        self._connection = connection

    def head(self, name: str) -> Reply | None:
        """What the object says of itself; None if it is not there, the container too. Raises StoreError."""
        reply = self._ask("HEAD", self._client.path(name), headers=NEWEST)
        return None if reply.status == 404 else self._require(reply, (200, 204), f"looking at {name}")

    def head_container(self) -> Reply | None:
        """None if it is not there."""
        reply = self._ask("HEAD", self._client.path())
        return None if reply.status == 404 else self._require(reply, (200, 204), f"container {self._client.container}")

    def has_container(self, *, otherwise: bool) -> bool:
        """``otherwise``: what holds for those who may not look at it; they may be allowed to read objects all the same."""
        try:
            return self.head_container() is not None
        except StoreDenied:
            if not otherwise:
                raise
            return True

    def require_container(self) -> None:
        """Raises StoreUnavailable if it is not there."""
        if not self.has_container(otherwise=True):
            raise self.no_container()

    def create_container(self) -> None:
        self._require(self._ask("PUT", self._client.path()), (201, 202), f"creating container {self._client.container}")

    def missing(self, name: str) -> StoreError:
        """The error for an object that is not there: without the container no object is known to be missing."""
        if self.has_container(otherwise=True):
            return NotFound(self._client.store_id, f"{self._client.container}/{name} is not there")
        return self.no_container()

    def no_container(self) -> StoreError:
        error = StoreUnavailable(self._client.store_id, f"the container {self._client.container} is not there: {NO_CONTAINER}")
        error.retryable = False  # somebody has to make it
        return error

    def delete(self, name: str) -> bool:
        """Whether it was there."""
        reply = self._ask("DELETE", self._client.path(name))
        self._require(reply, (200, 204, 404), f"deleting {name}")
        return reply.status != 404

    def delete_with_segments(self, name: str) -> None:
        """Of a static large object. Raises StoreError also when only some of it was deleted."""
        reply = self._ask("DELETE", self._client.path(name), {"multipart-manifest": "delete"}, {"Accept": "application/json"})
        self._require(reply, (200, 204), f"deleting {name}")
        if reply.status == 200:
            told = self._json(reply, f"deleting {name}")
            if not isinstance(told, dict) or told.get("Errors") or not str(told.get("Response Status", "")).startswith("200"):
                raise StoreUnavailable(self._client.store_id, f"deleting {name}: not everything could be deleted")

    def manifest(self, name: str) -> list[str] | None:
        """The names of a static large object's segments, ``container/object``; None if the cluster does not tell (radosgw).

        Raises NotFound, StoreError.
        """
        reply = self._ask("GET", self._client.path(name), {"multipart-manifest": "get"}, NEWEST)
        if reply.status == 404:
            raise self.missing(name)
        self._require(reply, (200,), f"reading the manifest of {name}")
        if not reply.body:
            return None
        return [str(each.get("name", "")).lstrip("/") for each in self._json(reply, f"the manifest of {name}")]

    def lost_segment(self, name: str) -> str | None:
        """The first of a static large object's segments that is not there; None if it has all, or the cluster does not tell.

        Swift refuses to read such an object in the same way (409) whether a segment is gone or only can't be read now.
        """
        found = self.head(name)
        if found is None or found.headers.get("x-static-large-object", "").lower() != "true":
            return None
        for segment in self.manifest(name) or ():
            if self._ask("HEAD", f"/{quote(segment)}", headers=NEWEST).status == 404:
                return segment
        return None

    def put_manifest(self, name: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Whatever was answered. Raises StoreTimeout, StoreUnavailable when nothing was: it may have been stored."""
        return self._ask("PUT", self._client.path(name), {"multipart-manifest": "put"}, headers, body)

    def list(self, prefix: str) -> Iterator[tuple[Reply, dict[str, Any]]]:
        """Objects as the container knows them, which may lag behind; with the answer that told of them."""
        marker = ""
        while True:
            query = {"format": "json", "prefix": prefix, "marker": marker}
            reply = self._ask("GET", self._client.path(), query)
            if reply.status == 404:
                return
            page = self._json(self._require(reply, (200, 204), "listing"), "listing") if reply.body else []
            if not page:
                return
            for each in page:
                yield reply, each
            marker = page[-1]["name"]

    def info(self) -> dict[str, Any]:
        """What the cluster tells of its limits; empty where it does not (radosgw, or switched off)."""
        access = self._client.authentication.access()
        address = Access(access.root, access.token).address("/info")
        reply = self._connection.exchange("GET", address, {})
        try:
            told = json.loads(reply.body) if reply.status == 200 else {}
        except ValueError:
            told = {}
        return told if isinstance(told, dict) else {}

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """A token that ran out is renewed once."""
        access = self._client.authentication.access()
        reply = self._tell(access, method, path, query, headers, body)
        if reply.status != 401:
            return reply
        return self._tell(self._client.authentication.access(refused=access), method, path, query, headers, body)

    def _tell(
        self,
        access: Access,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes,
    ) -> Reply:
        address = access.address(path, urlencode(query or {}))
        return self._connection.exchange(method, address, {**(headers or {}), "X-Auth-Token": access.token}, body)

    def _require(self, reply: Reply, hoped: tuple[int, ...], doing: str) -> Reply:
        if reply.status not in hoped:
            raise self._client.refusal(reply, doing)
        return reply

    def _json(self, reply: Reply, doing: str) -> Any:
        try:
            return json.loads(reply.body)
        except ValueError as error:
            raise StoreUnavailable(self._client.store_id, f"{doing}: the answer is no JSON") from error
