"""What is said to a server, and to which one: headers, redirects, and the meaning of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from glance_stream.errors import InvalidRequest, SourceNotFound
from glance_stream.sources.http_address import Address, follow
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_wire import Broken, Wire, final

USER_AGENT = "glance-stream"
_OURS = ("range", "if-range", "accept-encoding", "connection", "host", "transfer-encoding", "content-length")
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429)  # besides every 5xx: the same request may succeed later
_DENIED = (401, 403)
_GONE = {404: "not found", 410: "not found: it is gone"}


def request_headers(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's headers, checked. Raises InvalidRequest."""
    checked = dict(extra or {})
    for name, value in checked.items():
        if name.lower() in _OURS:
            raise InvalidRequest(f"the header {name} is set by the transfer itself")
        if not (name.isascii() and name.isprintable() and value.isprintable()) or not name or ":" in name:
            raise InvalidRequest("a request header's name or value has characters that a header can't have")
    return checked


def told(origin: Address, extra: Mapping[str, str]) -> Callable[[Address], dict[str, str]]:
    """What each address may be told: any of the caller's headers may be a credential, so only its own origin gets them."""

    def headers(at: Address) -> dict[str, str]:
        # Identity: a coded body has other bytes and other offsets than the object. Close: one connection carries one body.
        base = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Connection": "close"}
        if at.origin != origin.origin:
            return base
        secret = {"Authorization": origin.authorization} if origin.authorization else {}
        return {**base, **secret, **extra}

    return headers


def ask(
    wire: Wire,
    method: str,
    address: Address,
    headers: Callable[[Address], Mapping[str, str]],
    allow: Callable[[str], bool] | None,
    redirects: int,
) -> tuple[Answer, Address]:
    """An exchange that follows redirects; also where it ended. Raises Broken, SourceError, InvalidRequest."""
    at = address
    for _ in range(redirects + 1):
        if allow is not None and not allow(at.url):
            refusal = f"{at.shown} is not allowed as a source here"
            raise InvalidRequest(refusal) if at is address else final(f"redirected, but {refusal}")
        try:
            answer = wire.exchange(method, at, headers(at))
        except InvalidRequest as refusal:
            if at is address:
                raise
            raise final(f"redirected, but {refusal}") from refusal
        if answer.status not in _REDIRECTS:
            return answer, at
        at = _next(at, answer)
    raise final(f"more than {redirects} redirects")


def _next(at: Address, answer: Answer) -> Address:
    location = answer.headers.get("location", "")
    if not location:
        raise final(f"status {answer.status} without a Location")
    try:
        return follow(at, location)
    except InvalidRequest as error:
        raise final(f"redirected, but {error}") from None


def check_status(answer: Answer) -> NoReturn:
    """Of an answer that is not the one hoped for. Raises Broken for what may pass, SourceError for what won't."""
    if answer.status in _GONE:
        raise SourceNotFound(f"{_GONE[answer.status]} (status {answer.status})")
    if answer.status in _DENIED:
        raise final(f"access denied (status {answer.status})")
    if answer.status >= 500 or answer.status in _PASSING:
        raise Broken(f"the server answered status {answer.status}", retry_after=answer.retry_after)
    raise final(f"the server answered status {answer.status}")
