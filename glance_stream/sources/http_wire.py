"""One HTTP exchange at a time over one connection, which another thread can cut.

urllib3's connections are used without its pool: a pool hides the socket until the headers have come, and so a server that never
sends them could not be interrupted. One image is one long body; there is nothing to pool.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NewConnectionError, ReadTimeoutError
from urllib3.response import HTTPResponse

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.http_address import Address
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_peers import CheckedConnection, CheckedTLSConnection, Peers, peers

_FAILURES = (OSError, HTTPError, http.client.HTTPException)


class Broken(Exception):
    """This try failed; another may not. Never leaves the HTTP modules."""

    def __init__(self, reason: str, *, timed_out: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.timed_out = timed_out
        self.retry_after = retry_after


def final(message: str) -> SourceError:
    """A SourceError that trying again won't cure."""
    error = SourceError(message)
    error.retryable = False
    return error


@contextmanager
def _failures_are_broken() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise final(f"the server's certificate is not trusted ({error.verify_message}): name its CA, or correct the URL") from error
    except InvalidHeader as error:
        raise final("the server sent a malformed Content-Length") from error
    except _FAILURES as error:
        late = (TimeoutError, ConnectTimeoutError, ReadTimeoutError)
        timed_out = isinstance(error, late) and not isinstance(error, NewConnectionError)  # a subclass: 'connection refused'
        raise Broken("timed out" if timed_out else _reason(error), timed_out=timed_out) from error


def _reason(error: Exception) -> str:
    """Of the system's errors the text, of the library's the kind only: its texts repeat URLs."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(error).__name__


class Wire:
    """``exchange`` sends a request and leaves its body ready for ``readinto``, until the next exchange or ``close``.

    ``allowed`` is asked about each address that is connected to; without it all are.
    """

    def __init__(self, limits: HttpLimits, ca: str | None = None, allowed: Peers | None = None) -> None:
        self._limits = limits
        self._ca = ca
        self._allowed = allowed or peers("any")
        self._lock = threading.Lock()  # cut() must not shut down a descriptor that close() has just given back
        self._cut = False
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._stream: BufferedReader | None = None
        self._left: int | None = None

    def exchange(self, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        """Raises Broken, SourceError, InvalidRequest."""
        self.close()
        if self._cut:
            raise Broken("cut")
        connection = self._connection = self._dial(address)
        with _failures_are_broken():
            connection.connect()
            connection.timeout = self._limits.idle_seconds
            self._hold(connection.sock)
            # The socket's own limit is for each read: headers that trickle in would never meet it. Mere silence meets it first.
            watchdog = threading.Timer(self._limits.idle_seconds + self._limits.connect_seconds, self._shut)
            watchdog.daemon = True
            watchdog.start()
            try:
                connection.request(method, address.target, headers=headers, preload_content=False, decode_content=False)
                self._response = connection.getresponse()
            finally:
                watchdog.cancel()
        found = self._response.headers
        answer = Answer(self._response.status, {name.lower(): found[name] for name in found})
        self._left = answer.length
        self._stream = _stream(self._response)
        return answer

    def _dial(self, address: Address) -> HTTPConnection:
        seconds = self._limits.connect_seconds
        made: CheckedConnection | CheckedTLSConnection
        if address.scheme == "http":
            made = CheckedConnection(address.host, address.port, timeout=seconds)
        else:
            made = CheckedTLSConnection(address.host, address.port, timeout=seconds, ssl_context=trust(self._ca))
        made.allowed = self._allowed
        return made

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            self._socket = sock
        if self._cut:
            self._shut()

    def readinto(self, view: memoryview) -> int:
        """0 only at the body's declared end. Raises Broken."""
        assert self._response is not None
        with _failures_are_broken():
            if self._left is None:
                return self._read_chunk(view)
            if not self._left or self._stream is None:
                return 0
            # One receive into the caller's memory: a full view is not waited for, so a slow line still shows its progress.
            count = self._stream.readinto1(view[: self._left])
            if not count:
                raise Broken(f"the connection ended {self._left} bytes early")
            self._left -= count
            return count

    def _read_chunk(self, view: memoryview) -> int:
        assert self._response is not None
        piece = self._response.read1(len(view))
        if len(piece) > len(view):
            raise Broken("the server sent a chunk whose size makes no sense")
        view[: len(piece)] = piece
        return len(piece)

    def ends_here(self) -> bool:
        """After the declared end of the body: whether no further byte follows it."""
        if self._stream is None or self._left is None or self._socket is None:
            return True  # chunked: the end is in the body itself
        try:
            self._socket.settimeout(self._limits.end_seconds)
            return not self._stream.peek(1)
        except (*_FAILURES, ValueError):
            return True

    def cut(self) -> None:
        """From any thread: the exchange under way, and every later one, fails."""
        self._cut = True
        self._shut()

    def _shut(self) -> None:
        # Not SSLSocket's own shutdown: that drops the TLS layer under a running read, which would then yield raw TLS records.
        with self._lock, suppress(OSError):
            if self._socket is not None:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            response, self._response = self._response, None
            connection, self._connection = self._connection, None
            self._socket = self._stream = self._left = None
            for held in (response, connection):
                if held is not None:
                    held.close()


def trust(ca: str | None) -> ssl.SSLContext:
    """The system's certificates, or those in the file ``ca``. Raises InvalidRequest for one that can't be used."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidRequest(f"the CA bundle {ca!r} can't be used: {error.strerror or type(error).__name__}") from error
    context.hostname_checks_common_name = False  # a name in the subject proves nothing since RFC 6125
    return context


def _stream(response: HTTPResponse) -> BufferedReader | None:
    """The buffered socket under the response.

    Its public readinto copies, waits until the whole view is full, and closes at the declared end: a slow line's progress and
    the bytes behind that end would be out of sight.
    """
    return None if response._fp is None else response._fp.fp
