"""Heads of answers that never end, or that are none."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest
from bad_server import Act, Request, raw

from glance_stream.errors import SourceError
from glance_stream.sources.http_limits import HttpLimits

pytestmark = pytest.mark.timeout(60)


def endless(start: bytes, piece: bytes) -> Act:
    """Sends ``piece`` for as long as anybody takes it."""

    def act(_: Request, peer: socket.socket) -> None:
        peer.settimeout(0.5)
        with suppress(OSError):
            peer.sendall(start)
            while True:
                peer.send(piece)

    return act


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: more\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 4096),
        (b"HTTP/1.1 200 ", b"K" * 4096),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["headers", "header line", "status line", "interim answers"],
)
def test_a_head_without_end(server: Any, source: Any, start: bytes, piece: bytes) -> None:
    """It ends within the limits for silence and connecting, and takes no memory to speak of."""
    web = server(endless(start, piece))
    with pytest.raises(SourceError):
        source(web.url, limits=HttpLimits(connect_seconds=0.3, idle_seconds=0.2, tries=2)).open()
    assert len(web.requests) <= 2


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nxxxxx\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://h\r\nX: y/\r\nContent-Length: 0\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ],
    ids=["ssh", "status", "negative", "two", "hexadecimal", "chunked twice", "split location", "zeros"],
)
def test_a_head_that_is_none(server: Any, source: Any, head: bytes) -> None:
    web = server(raw(head))
    with pytest.raises(SourceError):
        source(web.url).open()
