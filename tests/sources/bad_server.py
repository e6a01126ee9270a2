"""A real HTTP server on a real socket that misbehaves by script: the n-th request meets the n-th act, the last act repeats."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from glance_stream.sources.base import Source

DATE = "Mon, 05 Jan 2026 10:00:00 GMT"
MODIFIED = "Mon, 05 Jan 2026 09:00:00 GMT"


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        return int(self.headers["range"].removeprefix("bytes=").partition("-")[0]) if "range" in self.headers else 0


Act = Callable[[Request, socket.socket], None]


class BadServer:
    def __init__(self, *acts: Act, tls: ssl.SSLContext | None = None) -> None:
        self.acts = acts
        self.requests: list[Request] = []
        self.stop = threading.Event()
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/image"

    def __enter__(self) -> BadServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.settimeout(5)
            if self._tls is None:
                return self._answer(peer)
            with self._tls.wrap_socket(peer, server_side=True) as wrapped:
                return self._answer(wrapped)

    def _answer(self, peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = peer.recv(65536)
            if not piece:
                return
            head += piece
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        fields = (line.partition(": ") for line in lines)
        request = Request(method, target, {name.lower(): value for name, _, value in fields})
        self.requests.append(request)
        self.acts[min(len(self.requests), len(self.acts)) - 1](request, peer)


def send_head(peer: socket.socket, status: int, headers: dict[str, str | None]) -> None:
    lines = [
        f"HTTP/1.1 {status} Reason",
        f"Date: {DATE}",
        *(f"{name}: {value}" for name, value in headers.items() if value is not None),
    ]
    peer.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


def serve(
    content: bytes,
    *,
    stop: int | None = None,
    how: str = "close",
    ranges: bool = True,
    chunked: int = 0,
    status: int | None = None,
    etag: str | None = '"v1"',
    **overrides: str | None,
) -> Act:
    """Serve ``content``, whole or from the range asked for; after ``stop`` body bytes 'close', 'reset' or 'stall' (0.5 s).

    ``overrides`` replace headers, or drop them if None; ``chunked`` is the size of a chunk.
    """

    def act(request: Request, peer: socket.socket) -> None:
        start = request.start if ranges else 0
        body = content[start:]
        headers: dict[str, str | None] = {"Content-Length": str(len(body)), "ETag": etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if chunked:
            headers |= {"Content-Length": None, "Transfer-Encoding": "chunked"}
        headers |= {name.replace("_", "-").title().replace("Etag", "ETag"): value for name, value in overrides.items()}
        send_head(peer, status or (206 if start else 200), headers)
        for piece in chunks(body[:stop], chunked) if chunked else [body[:stop]]:
            peer.sendall(piece)
        if stop is None or (stop >= len(body) and not chunked):
            if chunked:
                peer.sendall(b"0\r\n\r\n")
        elif how == "reset":
            time.sleep(0.02)  # let the peer take the bytes: a reset throws away what it has not read
            reset(peer)
        elif how == "stall":
            time.sleep(0.5)

    return act


def chunks(body: bytes, size: int) -> list[bytes]:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]


def answer(status: int, **headers: str | None) -> Act:
    """An answer without a body."""

    def act(_: Request, peer: socket.socket) -> None:
        send_head(peer, status, {"Content-Length": "0", **{name.replace("_", "-"): value for name, value in headers.items()}})

    return act


def silent(request: Request, peer: socket.socket) -> None:
    """Take the request and say nothing for a while."""
    time.sleep(0.5)


def raw(text: bytes) -> Act:
    return lambda request, peer: peer.sendall(text)


def read_all(source: Source, size: int = 1 << 16) -> bytes:
    view = memoryview(bytearray(size))
    out = bytearray()
    while count := source.readinto(view):
        out += view[:count]
    return bytes(out)
