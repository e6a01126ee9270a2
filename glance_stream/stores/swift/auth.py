"""Who we are to a Swift cluster: a token and the storage URL, renewed before the token ends and when the cluster refuses it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

from glance_stream.errors import StoreDenied, StoreError, StoreUnavailable
from glance_stream.sources.http_address import Address, parse
from glance_stream.stores.swift.connection import Connection, Network
from glance_stream.stores.swift.options import SwiftOptions

SOON = 60.0  # seconds before its end from which on a token is renewed: glance_store's swift_store_expire_soon_interval


@dataclass(frozen=True)
class Access:
    """``ends``: by time.monotonic; None if it was not told."""

    storage_url: str
    token: str = field(repr=False)
    ends: float | None = None

    @property
    def fresh(self) -> bool:
        return self.ends is None or time.monotonic() < self.ends - SOON

    @property
    def root(self) -> str:
        """What stands before the API's version in the storage URL, where /info is."""
        return self.storage_url.partition("/v1/")[0]

    def address(self, path: str, query: str = "") -> Address:
        """``path`` is quoted and begins with a slash, or is empty: the account."""
        return parse(f"{self.storage_url.rstrip('/')}{path}{'?' if query else ''}{query}")


class Authentication:
    """Any thread may ask; one of them authenticates, the others wait for it, which the time limits bound."""

    def __init__(self, options: SwiftOptions, network: Network) -> None:
        self._options = options
        self._network = network
        self._lock = threading.Lock()
        self._access: Access | None = None

    def access(self, refused: Access | None = None) -> Access:
        """``refused``: what the cluster has answered 401 to. Raises StoreDenied, StoreUnavailable."""
        with self._lock:
            held = self._access
            if held is None or not held.fresh or (refused is not None and held.token == refused.token):
                self._access = held = self._authenticate()
            return held

    def _authenticate(self) -> Access:
        if self._options.version == "1":
            access = self._version_1()
        else:
            from glance_stream.stores.swift.keystone import authenticate  # its SDK is for version 3 only

            access = Access(*authenticate(self._options, self._network))
        return replace(access, storage_url=self._options.endpoint or access.storage_url)

    def _version_1(self) -> Access:
        store_id, options = self._network.store_id, self._options
        headers = {"X-Auth-User": options.user or "", "X-Auth-Key": options.key or ""}
        with Connection(self._network) as connection:
            reply = connection.exchange("GET", parse(options.auth_url), headers)
        if reply.status in (401, 403):
            raise StoreDenied(store_id, f"{options.auth_url} refuses the user or the key (status {reply.status})")
        if reply.status not in (200, 204):
            kind = StoreUnavailable if reply.status >= 429 else StoreError
            raise kind(store_id, f"{options.auth_url} answered status {reply.status}", retry_after=reply.retry_after)
        token, url = reply.headers.get("x-auth-token"), reply.headers.get("x-storage-url")
        if not token or not url:
            raise StoreError(store_id, f"{options.auth_url} gave no token: it is no authentication of version 1")
        seconds = reply.headers.get("x-auth-token-expires", "")
        return Access(url, token, time.monotonic() + int(seconds) if seconds.isdecimal() else None)
