"""Connections that carry the bytes of an upload: kept from part to part, and cut by any thread.

botocore's own connections are inside a pool that shows no socket, so an upload to a server that has stopped reading could only be
waited for. They also cost more: see ``store.py``.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from glance_stream.sources.http_address import Address
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_wire import Broken, trust

PIECE = 1 << 20  # a socket's time limit is for a whole send: a part on a slow line would meet it, a piece does not
_REPLY_MOST = 64 << 10
_FAILURES = (OSError, http.client.HTTPException)


class Unanswered(Broken):
    """All of the request was sent, and no answer came: it may have taken effect, or may yet."""


@dataclass(frozen=True)
class Reply:
    answer: Answer
    body: bytes


class Line:
    """One connection, made when it is first needed and again when it broke. One `put` at a time."""

    def __init__(self, host: Address, limits: HttpLimits, trust: ssl.SSLContext | None) -> None:
        self._host = host
        self._limits = limits
        self._trust = trust
        self._lock = threading.Lock()  # cut() must not shut down a descriptor that close() has just given back
        self._cut = False
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def put(self, target: str, headers: Mapping[str, str], body: memoryview) -> Reply:
        """Raises Broken, Unanswered. A kept connection that the server has closed meanwhile is made again without a word."""
        reused = self._connection is not None
        try:
            return self._exchange(target, headers, body)
        except Broken as broken:
            if not reused or broken.timed_out or self._cut or isinstance(broken, Unanswered):
                raise
        return self._exchange(target, headers, body)

    def _exchange(self, target: str, headers: Mapping[str, str], body: memoryview) -> Reply:
        done = whole = False
        try:
            with _failures_are_broken():
                connection = self._connection or self._connect()
                whole = _send(connection, target, headers, body)
                with connection.getresponse() as response:
                    said = response.read(_REPLY_MOST)
                    found = {name.lower(): value for name, value in response.getheaders()}
                    done = whole and response.isclosed() and not response.will_close
            return Reply(Answer(response.status, found), said)
        except Broken as broken:
            if whole:
                raise Unanswered(str(broken), timed_out=broken.timed_out) from broken
            raise
        finally:
            if not done:
                self.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._cut:
            raise Broken("cut")
        seconds = self._limits.connect_seconds
        if self._trust is None:
            connection = http.client.HTTPConnection(self._host.host, self._host.port, timeout=seconds)
        else:
            connection = http.client.HTTPSConnection(self._host.host, self._host.port, timeout=seconds, context=self._trust)
        connection.connect()
        connection.sock.settimeout(self._limits.idle_seconds)
        with self._lock:
            self._connection, self._socket = connection, connection.sock
        if self._cut:
            self.cut()
        return connection

    def cut(self) -> None:
        """From any thread: the upload under way, and every later one, fails."""
        self._cut = True
        # Not SSLSocket's own shutdown: that drops the TLS layer under a running write, which would then go on in the clear.
        with self._lock, suppress(OSError):
            if self._socket is not None:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            connection, self._connection, self._socket = self._connection, None, None
            if connection is not None:
                connection.close()


class Lines:
    """As many connections as there are uploads at once."""

    def __init__(self, host: Address, limits: HttpLimits, ca: str | None) -> None:
        self._host = host
        self._limits = limits
        self._trust = trust(ca) if host.scheme == "https" else None
        self._lock = threading.Lock()
        self._all: list[Line] = []
        self._idle: list[Line] = []
        self._cut = False

    @contextmanager
    def line(self) -> Iterator[Line]:
        with self._lock:
            if self._cut:
                raise Broken("cut")
            if not self._idle:
                self._idle.append(Line(self._host, self._limits, self._trust))
                self._all.append(self._idle[-1])
            line = self._idle.pop()
        try:
            yield line
        finally:
            with self._lock:
                self._idle.append(line)

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            lines = list(self._all)
        for line in lines:
            line.cut()

    def close(self) -> None:
        """Only once nothing is under way."""
        for line in self._all:
            line.close()


def _send(connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str], body: memoryview) -> bool:
    """False if the server hung up before it had everything: its answer may say why."""
    connection.putrequest("PUT", target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    try:
        for at in range(0, len(body), PIECE):
            connection.send(body[at : at + PIECE])
    except TimeoutError:
        raise
    except OSError:
        return False
    return True


@contextmanager
def _failures_are_broken() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Broken(f"the server's certificate is not trusted ({error.verify_message})") from error
    except _FAILURES as error:
        reason = "timed out" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or type(error).__name__
        raise Broken(reason, timed_out=isinstance(error, TimeoutError)) from error
