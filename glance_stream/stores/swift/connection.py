"""HTTP to a Swift cluster: one connection, one exchange after another.

The standard library's connection is used because a segment is pushed into it straight from the ring. python-swiftclient pulls a
body from an iterator, which would need a thread and a queue for each segment, and logs parts of tokens.
"""

from __future__ import annotations

import functools
import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from glance_stream.errors import InvalidRequest, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.sources.http_address import Address
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_wire import trust
from glance_stream.sources.tls_refusal import tls_refusal

USER_AGENT = "glance-stream"
MOST = 64 << 20  # bytes of an answer that is kept whole: ten times a full listing or the largest manifest


@dataclass(frozen=True)
class Network:
    """How a cluster is reached. ``ca``: a file. In seconds: ``connect_timeout``, ``read_timeout`` for each wait."""

    store_id: str
    ca: str | None
    insecure: bool
    connect_timeout: float
    read_timeout: float

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Raises InvalidRequest for a file of certificates that can't be used."""
        try:
            context = trust(self.ca)
        except InvalidRequest as error:
            raise InvalidRequest(f"store {self.store_id!r}: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def dial(self, address: Address) -> http.client.HTTPConnection:
        """A connection that is made. Raises StoreError."""
        made = (
            http.client.HTTPConnection(address.host, address.port, timeout=self.connect_timeout)
            if address.scheme == "http"
            else http.client.HTTPSConnection(address.host, address.port, timeout=self.connect_timeout, context=self.trust)
        )
        try:
            with self.mapped(address):
                made.connect()
                made.sock.settimeout(self.read_timeout)
        except BaseException:
            made.close()
            raise
        return made

    @contextmanager
    def mapped(self, address: Address) -> Iterator[None]:
        """The edge where the network's faults become ours."""
        server = f"{address.host}:{address.port}"
        try:
            yield
        except TimeoutError as error:
            raise StoreTimeout(self.store_id, f"{server} is silent") from error
        except (OSError, http.client.HTTPException) as error:
            refused = tls_refusal(error, server) if isinstance(error, ssl.SSLError) else None
            if refused is not None:
                raise StoreError(self.store_id, refused) from error
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise StoreUnavailable(self.store_id, f"{server}: {reason}") from error


@dataclass(frozen=True)
class Reply(Answer):
    """An answer with its body."""

    body: bytes = b""


class Connection:
    """Small exchanges, over one connection as long as the server keeps it. For one thread; a context that closes it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._at: Address | None = None
        self._made: http.client.HTTPConnection | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def exchange(self, method: str, address: Address, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Raises StoreTimeout, StoreUnavailable: whether the request took effect is not known then."""
        connection = self._connection(address)
        try:
            with self._network.mapped(address):
                connection.request(method, address.target, body or None, {"User-Agent": USER_AGENT, **headers})
                return self._read(connection.getresponse())
        except BaseException:
            self.close()
            raise

    def _read(self, response: http.client.HTTPResponse) -> Reply:
        body = response.read(MOST)
        if response.length:  # it promised more
            raise http.client.IncompleteRead(body[:0], response.length)
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        return Reply(response.status, headers, body)

    def _connection(self, address: Address) -> http.client.HTTPConnection:
        if self._made is None or self._at is None or self._at.origin != address.origin:
            self.close()
            self._made, self._at = self._network.dial(address), address
        return self._made

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made.close()
