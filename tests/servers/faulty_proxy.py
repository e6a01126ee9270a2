"""A proxy in front of a real HTTP server that fails as it is told to, request by request.

    with FaultyProxy(server.endpoint) as proxy:
        proxy.plan(r"PUT .*partNumber=2", Answer(503, {"Retry-After": "1"}), CutRequest(after=1000))
        ...  # use proxy.endpoint instead of server.endpoint

Each request whose first line a pattern finds takes the next fault planned for it; any other passes. One request per connection: the
proxy asks the server to close after its answer, so where an answer ends need not be known.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEAD_MOST = 64 << 10
RECEIVE = 64 << 10
PEER_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """Base of what can go wrong. As such: nothing does, the request passes."""


@dataclass(frozen=True)
class Answer(Fault):
    """The proxy answers instead of the server, once it has the whole body; ``early``: before any of it, and hangs up."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    early: bool = False


@dataclass(frozen=True)
class CutRequest(Fault):
    """Both connections are reset once ``after`` bytes of the request's body have passed."""

    after: int = 0


@dataclass(frozen=True)
class CutAnswer(Fault):
    """The client is reset once ``after`` bytes of the answer have passed; 0: the server has done it and nobody is told."""

    after: int = 0


@dataclass(frozen=True)
class Stall(Fault):
    """``after`` bytes of the request's body pass, and then nothing moves any more in either direction."""

    after: int = 0


@dataclass(frozen=True)
class Change(Fault):
    """The byte at this offset of the request's body is not the one that was sent."""

    at: int


class FaultyProxy:
    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.scheme == "http"
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._plans: list[tuple[re.Pattern[str], list[Fault]]] = []
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []  # method and target of each

    def plan(self, pattern: str, *faults: Fault) -> None:
        """For the requests whose "METHOD target" the pattern finds: one fault each, in this order."""
        with self._lock:
            self._plans.append((re.compile(pattern), list(faults)))

    def seen(self, pattern: str) -> int:
        """How many requests the pattern finds."""
        return sum(bool(re.search(pattern, each)) for each in self.requests)

    def wait_for(self, pattern: str) -> None:
        """Until a request came that the pattern finds."""
        with self._came:
            assert self._came.wait_for(lambda: self.seen(pattern), PEER_SECONDS), f"no request {pattern}"

    def __enter__(self) -> FaultyProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, function: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, name="faulty-proxy", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
                self._keep(client)
            except OSError:
                return
            self._start(self._serve, client)

    def _keep(self, sock: socket.socket) -> None:
        sock.settimeout(PEER_SECONDS)
        with self._lock:
            self._sockets.add(sock)
            if self._closing.is_set():  # nobody would shut it down any more
                sock.close()
                raise ConnectionAbortedError

    def _drop(self, sock: socket.socket, *, reset: bool = False) -> None:
        with self._lock:
            self._sockets.discard(sock)
        if reset:  # sends RST instead of FIN
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        sock.close()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            head, body = _receive_head(client)
            if head:
                self._play(client, head, body)
        self._drop(client)

    def _play(self, client: socket.socket, head: bytes, body: bytes) -> None:
        line = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0]
        fault = self._next(line)
        if isinstance(fault, Answer):
            _answer(client, head, body, fault)
            return
        server = socket.create_connection(self._upstream, timeout=PEER_SECONDS)
        self._keep(server)
        try:
            server.sendall(_closing(head))
            up = self._start(self._up, client, server, body, fault)
            self._down(client, server, fault)
            if isinstance(fault, Stall):
                self._closing.wait()
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # the answer is complete: no more of the request is wanted
            up.join(PEER_SECONDS)
        finally:
            self._drop(server)

    def _next(self, line: str) -> Fault:
        with self._lock:
            self.requests.append(line)
            self._came.notify_all()
            for pattern, faults in self._plans:
                if faults and pattern.search(line):
                    return faults.pop(0)
        return Fault()

    def _up(self, client: socket.socket, server: socket.socket, body: bytes, fault: Fault) -> None:
        """The request's body, until the client has no more."""
        passed = 0
        with suppress(OSError):
            while True:
                if isinstance(fault, CutRequest | Stall) and passed + len(body) >= fault.after:
                    server.sendall(body[: fault.after - passed])
                    if isinstance(fault, CutRequest):
                        self._drop(client, reset=True)
                        self._drop(server, reset=True)
                    return
                if isinstance(fault, Change) and passed <= fault.at < passed + len(body):
                    at = fault.at - passed
                    body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
                server.sendall(body)
                passed += len(body)
                body = client.recv(RECEIVE)
                if not body:
                    return

    def _down(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        """The answer, until the server ends it."""
        passed = 0
        with suppress(OSError):
            while answer := server.recv(RECEIVE):
                if isinstance(fault, Stall):
                    return
                if isinstance(fault, CutAnswer) and passed + len(answer) >= fault.after:
                    client.sendall(answer[: fault.after - passed])
                    self._drop(client, reset=True)
                    return
                client.sendall(answer)
                passed += len(answer)


def _receive_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The request's head and what of its body came with it; nothing if the client went away."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = client.recv(RECEIVE)
        if not more or len(received) > HEAD_MOST:
            return b"", b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _closing(head: bytes) -> bytes:
    kept = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


def _answer(client: socket.socket, head: bytes, body: bytes, answer: Answer) -> None:
    if not answer.early:
        found = re.search(rb"(?im)^content-length:\s*([0-9]+)", head)
        left = (int(found[1]) if found else 0) - len(body)
        if re.search(rb"(?im)^expect:\s*100-continue", head):
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left > 0:
            left -= len(client.recv(RECEIVE)) or left
    headers = {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Planned", *(f"{name}: {value}" for name, value in headers.items())]
    sent = "\r\n".join([*lines, "", ""]).encode() + (b"" if head.startswith(b"HEAD ") else answer.body)
    client.sendall(sent)
