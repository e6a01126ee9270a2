"""URLs of images: taken apart, shown without secrets, and followed only where that is safe."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

from glance_stream.errors import InvalidRequest

_PORTS = {"http": 80, "https": 443}
_UNSAFE_HOST = re.compile(r"[\x00-\x20\x7f/\\@<>\"'%]")
_KEEP = "%/:=&?~#+!$,;'@()*[]"  # as in the URL already; the rest (spaces, non-ASCII) is percent-encoded


@dataclass(frozen=True)
class Address:
    """An http or https URL without its userinfo, which is ``authorization`` now."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, as sent
    authorization: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whom credentials may be shown to."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """Without userinfo. The query may hold a signature: not for showing."""
        return f"{self.scheme}://{self._netloc()}{self.target}"

    @property
    def shown(self) -> str:
        """Fit for logs and errors: a query is often a signed permission, so only its presence is told."""
        path, query, _ = self.target.partition("?")
        return f"{self.scheme}://{self._netloc()}{path}{'?...' if query else ''}"

    def _netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Address:
    """Raises InvalidRequest, whose message never repeats the URL: it may hold a password in the very part that is wrong."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError is one
        raise InvalidRequest("the source's URL can't be understood: its host or port is malformed") from None
    if scheme not in _PORTS:
        raise InvalidRequest("the source's URL must begin with http:// or https://")
    if not host or _UNSAFE_HOST.search(host):
        raise InvalidRequest("the source's URL names no valid host")
    target = quote(parts.path or "/", safe=_KEEP)
    if parts.query:
        target += "?" + quote(parts.query, safe=_KEEP)
    return Address(scheme, host, port or _PORTS[scheme], target, _basic(parts))


def follow(base: Address, location: str) -> Address:
    """Where a redirect leads. Raises InvalidRequest if that is no http(s) URL, or would leave TLS.

    Userinfo that the server put there is dropped: credentials come from the user only.
    """
    try:
        address = parse(urljoin(base.url, location))
    except ValueError:
        raise InvalidRequest("the redirect's Location can't be understood") from None
    if base.scheme == "https" and address.scheme != "https":
        raise InvalidRequest("the redirect leads from https to http, where anybody may change the image")
    return replace(address, authorization=None)


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return "Basic " + base64.b64encode(pair).decode("ascii")
