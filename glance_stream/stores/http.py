"""Images on web servers: a store to read from. Nothing is ever written or deleted there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Literal
from urllib.parse import quote, unquote

import msgspec

from glance_stream import threads
from glance_stream.errors import (
    InvalidRequest,
    NotFound,
    SourceError,
    SourceNotFound,
    StoreDenied,
    StoreError,
    StoreReadOnly,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.model import Location
from glance_stream.sources import http_limits
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.http import HttpSource
from glance_stream.sources.http_address import Address, parse
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_peers import Peers, peers
from glance_stream.sources.http_request import ask, check_status, request_headers, told
from glance_stream.sources.http_wire import Broken, Wire, final
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer

# How servers and signed URLs that know only GET refuse a HEAD.
_HEAD_REFUSED = (403, 405, 501)

_SLASH = re.compile(r"[/\\\0]")


Seconds = Annotated[float, msgspec.Meta(gt=0)]


class HttpOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "http"`` store. ``url``: images lie below it; without one every http or https URL is the store's.

    ``ca``: a file of certificates to trust instead of the system's. ``headers``: sent to the URL's host only. In seconds:
    ``connect_timeout``; ``read_timeout`` for silence; ``total_timeout`` for one image. ``tries`` in a row without a new byte.
    ``addresses`` that may be connected to: 'public', 'private' ones too, or 'any', which are those local to the link too.
    """

    url: str | None = None
    ca: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    connect_timeout: Seconds = http_limits.CONNECT_SECONDS
    read_timeout: Seconds = http_limits.IDLE_SECONDS
    total_timeout: Seconds = http_limits.TOTAL_SECONDS
    tries: Annotated[int, msgspec.Meta(ge=1)] = http_limits.TRIES
    addresses: Literal["any", "private", "public"] = "private"

    @property
    def limits(self) -> HttpLimits:
        return HttpLimits(self.connect_timeout, self.read_timeout, self.total_timeout, self.tries)


class HttpStore(Store):
    """Web servers, whole or below one URL."""

    type = "http"
    traits = Traits(read_only=True)

    def __init__(
        self,
        store_id: str,
        url: str | None = None,
        *,
        ca: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits | None = None,
        allow: Callable[[str], bool] | None = None,
        addresses: str = "private",
    ) -> None:
        """Raises InvalidRequest."""
        self.store_id = store_id
        self._base = None if url is None else parse(url)
        self._ca = ca
        self._headers = request_headers(headers)
        self._limits = limits or HttpLimits()
        self._allow = allow
        self._allowed = peers(addresses)
        if self._base is None and self._headers:
            raise InvalidRequest(f"store {store_id!r}: headers need a url, or they would be sent to any server")
        if self._base is not None and "?" in self._base.target:
            raise InvalidRequest(f"store {store_id!r}: the url can't have a query, images lie below it")

    @classmethod
    def from_options(cls, store_id: str, options: HttpOptions, *, read_only: bool = True) -> HttpStore:
        """``read_only`` is true whatever is asked."""
        return cls(
            store_id, options.url, ca=options.ca, headers=options.headers, limits=options.limits, addresses=options.addresses
        )

    @property
    def where(self) -> str:
        return "any web server" if self._base is None else self._base.shown

    def writer(self, image_id: str) -> Writer:
        raise StoreReadOnly(self.store_id, "images can't be written over HTTP")

    def open_reader(self, location: Location) -> Source:
        address = self._address(location)
        return StoredOnWeb(
            self.store_id,
            address,
            limits=self._limits,
            headers=self._headers,
            ca=self._ca,
            allow=self._allow,
            allowed=self._allowed,
        )

    async def stat(self, location: Location) -> ObjectStat:
        address = self._address(location)
        wire = Wire(self._limits, self._ca, self._allowed)
        try:
            return ObjectStat(await threads.call(self._size, wire, address))
        finally:
            wire.cut()  # if this was cancelled, the thread must not go on waiting for the server

    async def delete(self, location: Location) -> None:
        raise StoreReadOnly(self.store_id, "images can't be deleted over HTTP")

    async def discard(self, trace: str) -> None:
        """No writer, no trace."""

    async def strays(self) -> list[Stray]:
        return []

    async def find(self, image_id: str) -> Location | None:
        if self._base is None:
            return None
        location = Location(f"{self._base.url.rstrip('/')}/{quote(image_id, safe='')}", self.store_id)
        try:
            await self.stat(location)
        except NotFound:
            return None
        return location

    def owns(self, url: str) -> bool:
        try:
            address = parse(url)
        except InvalidRequest:
            return False
        if self._base is None:
            return True
        base, inner = _components(self._base), _components(address)
        # A server resolves dot components, and some an encoded slash; what they lead to may lie outside.
        return (
            address.origin == self._base.origin
            and len(inner) > len(base)
            and inner[: len(base)] == base
            and all(part not in ("", ".", "..") and not _SLASH.search(part) for part in inner)
        )

    def _address(self, location: Location) -> Address:
        """With the store's own credentials, which no location holds."""
        if not self.owns(location.url):
            raise StoreError(self.store_id, "the location is not in this store")
        address = parse(location.url)
        if self._base is None or address.authorization:
            return address
        return replace(address, authorization=self._base.authorization)

    def _size(self, wire: Wire, address: Address) -> int:
        with self._mapped(address):
            try:
                answer = self._ask(wire, "HEAD", address, {})
                if answer.status in _HEAD_REFUSED or (answer.status == 200 and answer.length is None):
                    # One byte of it: the rest of the answer says how many there are.
                    answer = self._ask(wire, "GET", address, {"Range": "bytes=0-0"})
                return _stated_size(answer)
            finally:
                wire.close()

    def _ask(self, wire: Wire, method: str, address: Address, extra: Mapping[str, str]) -> Answer:
        headers = told(address, self._headers)
        answer, _ = ask(wire, method, address, lambda at: {**headers(at), **extra}, self._allow, self._limits.redirects)
        if answer.status in (404, 410):
            raise NotFound(self.store_id, f"{address.shown}: not found")
        if answer.status == 401 or (answer.status == 403 and method != "HEAD"):
            raise StoreDenied(self.store_id, f"{address.shown}: access denied (status {answer.status})")
        return answer

    @contextmanager
    def _mapped(self, address: Address) -> Iterator[None]:
        """The edge where a server's faults become ours."""
        try:
            yield
        except Broken as error:
            kind = StoreTimeout if error.timed_out else StoreUnavailable
            raise kind(self.store_id, f"{address.shown}: {error}") from error
        except (SourceError, InvalidRequest) as error:
            raise StoreError(self.store_id, f"{address.shown}: {error}") from error


class StoredOnWeb(HttpSource):
    """An image on the server as a source. That it is missing is said as other stores say it."""

    def __init__(
        self,
        store_id: str,
        address: Address,
        *,
        limits: HttpLimits,
        headers: Mapping[str, str],
        ca: str | None,
        allow: Callable[[str], bool] | None,
        allowed: Peers,
    ) -> None:
        super().__init__(address, limits=limits, headers=headers, ca=ca, allow=allow, allowed=allowed)
        self._store_id = store_id

    def open(self) -> SourceInfo:
        try:
            return super().open()
        except SourceNotFound as error:
            raise NotFound(self._store_id, str(error)) from error


def _components(address: Address) -> list[str]:
    """Decoded one by one: an encoded slash does not part components."""
    path = address.target.partition("?")[0].strip("/")
    return [unquote(component) for component in path.split("/")] if path else []


def _stated_size(answer: Answer) -> int:
    """Raises Broken, SourceError."""
    if answer.status == 416:
        size = answer.unsatisfied_total  # of an empty object: it has no first byte
    elif answer.status == 206:
        size = answer.range.total if answer.range else None
    elif answer.status == 200:
        fault = answer.body_fault()
        if fault:
            raise final(fault)
        size = answer.length
    else:
        check_status(answer)
    if size is None:
        raise final("the server does not say how many bytes it has")
    return size
