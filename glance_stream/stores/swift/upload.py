"""One object on its way: a PUT whose body is pushed into the connection piece by piece, a segment's straight from the ring.

``Expect: 100-continue``: whatever the cluster refuses (a token, a quota, a missing container, busy object servers), it refuses
before the first byte, so that the same bytes can be offered again. From then on a failure is final where they are not kept.

An upload that is not finished breaks the connection before the body's end, and Swift and radosgw drop what they had.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress

from glance_stream.errors import StoreError, StoreTimeout, StoreUnavailable
from glance_stream.sources.http_answer import Answer
from glance_stream.stores.swift.auth import Access
from glance_stream.stores.swift.client import SwiftClient
from glance_stream.stores.swift.connection import USER_AGENT

PIECE = 1 << 20  # bytes that the socket's time limit is for
HEAD_MOST = 64 << 10  # bytes of an answer's head
EXPECT_SECONDS = 5.0  # a server that does not know Expect is sent the body after this
EARLY_SECONDS = 1.0  # for the answer of a server that has stopped reading


class Upload:
    """``length``: of the object, None if not known: it is sent chunked then. ``capacity``: the most that it may take."""

    def __init__(
        self,
        client: SwiftClient,
        name: str,
        length: int | None,
        capacity: int,
        *,
        md5: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``md5``: compare what was sent with the ETag that `finish` gives."""
        self._client = client
        self._network = client.network
        self._name = name
        self._length = length
        self._capacity = capacity if length is None else length
        self._headers = dict(headers or {})
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._lock = threading.Lock()  # a descriptor that was given back must not be shut down
        self._made: http.client.HTTPConnection | None = None
        self._got = bytearray()
        self._complete = False  # all of the body is on its way
        self._cut = False
        self.sent = 0
        self.status: int | None = None  # what the cluster has answered in the end

    @property
    def room(self) -> int:
        """Bytes that it still takes."""
        return self._capacity - self.sent

    @property
    def complete(self) -> bool:
        """Whether its last byte was given to the connection: the cluster may store it whatever becomes of us."""
        return self._complete

    def offer(self) -> None:
        """Raises StoreError when the cluster does not take it: no byte was sent then, and it can be offered again."""
        authentication = self._client.authentication
        access = authentication.access()
        refused = self._begin(access)
        if refused is not None and refused.status == 401:
            refused = self._begin(authentication.access(refused=access))
        if refused is not None and refused.status == 404:
            raise StoreError(self._client.store_id, f"the container {self._client.container} is not there any more")
        if refused is not None:
            raise self._client.refusal(refused, f"writing {self._name}")

    def _begin(self, access: Access) -> Answer | None:
        """None when the cluster waits for the body, its refusal otherwise."""
        self.close()
        self.sent, self._complete, self.status = 0, False, None
        self._address = access.address(self._client.path(self._name))
        made = self._network.dial(self._address)
        with self._lock:
            self._made = made
            if self._cut:
                self._shut()
        with self._network.mapped(self._address):
            made.putrequest("PUT", self._address.target, skip_accept_encoding=True)
            made.putheader("User-Agent", USER_AGENT)
            made.putheader("X-Auth-Token", access.token)
            made.putheader("Content-Type", "application/octet-stream")
            made.putheader("Connection", "close")
            made.putheader("Expect", "100-continue")
            for name, value in self._headers.items():
                made.putheader(name, value)
            if self._length is None:
                made.putheader("Transfer-Encoding", "chunked")
            else:
                made.putheader("Content-Length", str(self._length))
            made.endheaders()
            answer = self._answer(made.sock, min(EXPECT_SECONDS, self._network.read_timeout))
        return None if answer is None or answer.status < 200 else answer

    def send(self, view: memoryview) -> None:
        """At most `room` bytes. Raises StoreError."""
        for at in range(0, len(view), PIECE):
            with view[at : at + PIECE] as piece:  # released also when it fails, whose traceback would hold the slot
                self._send(piece)

    def _send(self, piece: memoryview) -> None:
        if self._md5 is not None:
            self._md5.update(piece)
        self.sent += len(piece)
        if self._length is None:
            self._push(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._complete = self.sent == self._length
            self._push(piece)

    def finish(self) -> str:
        """The object's ETag, once it is stored; all of it was sent. Raises StoreError."""
        if self._length is None:
            self._complete = True
            self._push(b"0\r\n\r\n")
        try:
            with self._network.mapped(self._address):
                answer = self._answer(self._sock(), self._network.read_timeout)
                while answer is not None and answer.status < 200:
                    answer = self._answer(self._sock(), self._network.read_timeout)
        finally:
            self.close()
        if answer is None:
            raise StoreTimeout(self._client.store_id, f"{self._name}: no answer to its last byte")
        if answer.status != 201:
            raise self._client.refusal(answer, f"writing {self._name}")
        etag = answer.etag.strip('"')
        if self._md5 is not None and etag != self._md5.hexdigest():
            raise StoreError(self._client.store_id, f"{self._name}: the cluster stored other bytes than were sent")
        return etag

    def _push(self, *parts: bytes | memoryview) -> None:
        sock = self._sock()
        try:
            with self._network.mapped(self._address):
                for part in parts:
                    sock.sendall(part)
        except StoreUnavailable as error:
            reason = self._early(sock)
            if reason is None:
                raise
            raise reason from error

    def _early(self, sock: socket.socket) -> StoreError | None:
        """Why the cluster broke the connection in the middle of the body, if it said so."""
        try:
            answer = self._answer(sock, EARLY_SECONDS)
        except (OSError, http.client.HTTPException):
            return None
        if answer is None or answer.status < 400:
            return None
        return self._client.refusal(answer, f"writing {self._name}")

    def _answer(self, sock: socket.socket, seconds: float) -> Answer | None:
        """The head of the next answer; None if there is none in this time."""
        sock.settimeout(seconds)
        try:
            while b"\r\n\r\n" not in self._got:
                part = sock.recv(HEAD_MOST)
                if not part:
                    raise http.client.RemoteDisconnected("no answer")
                self._got += part
                if len(self._got) > HEAD_MOST:
                    raise http.client.LineTooLong("an answer's head")
        except TimeoutError:
            return None
        finally:
            with suppress(OSError):  # closed meanwhile
                sock.settimeout(self._network.read_timeout)
        head, _, rest = bytes(self._got).partition(b"\r\n\r\n")
        self._got[:] = rest
        status_line, _, fields = head.partition(b"\r\n")
        words = status_line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise http.client.BadStatusLine("")
        found = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        self.status = int(words[1]) if int(words[1]) >= 200 else None
        return Answer(int(words[1]), {name.lower(): value for name, value in found.items()})

    def _sock(self) -> socket.socket:
        with self._lock:
            if self._made is None or self._cut:
                raise StoreError(self._client.store_id, "the writer has ended")
            sock: socket.socket = self._made.sock
            return sock

    def cut(self) -> None:
        """From any thread: whatever it waits for fails, and nothing more is sent."""
        with self._lock:
            self._cut = True
            self._shut()

    def _shut(self) -> None:
        # Not SSLSocket's own shutdown: that drops the TLS layer under a running call.
        if self._made is not None and self._made.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._made.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Not while another thread is in `send` or `finish`."""
        with self._lock:
            made, self._made = self._made, None
            self._got.clear()
        if made is not None:
            made.close()
