"""A web server that sends an image up to a byte, and no further until it is told to."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 64 << 10
SECONDS = 120.0


class HeldBack:
    """One image at ``url``. ``begun``: with which byte each answer began; ``stop_at``: the image's byte before which it stops."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.etag = '"first"'
        self.stop_at = len(image)
        self.url = ""
        self.begun: list[int] = []
        self._reached = threading.Event()
        self._ended = threading.Event()

    def hold_at(self, byte: int) -> None:
        self.stop_at = byte
        self._reached.clear()

    def go_on(self) -> None:
        """For requests to come: whole, and noted anew."""
        self.stop_at, self.begun = len(self.image), []

    def wait_until_held(self) -> None:
        assert self._reached.wait(SECONDS), "nobody has read so far"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        part = wanted is not None and request.headers.get("If-Range") in (None, self.etag)
        first = int(wanted[1]) if wanted is not None and part else 0
        request.send_response(206 if part else 200)
        request.send_header("Content-Length", str(len(self.image) - first))
        request.send_header("ETag", self.etag)
        if part:
            request.send_header("Content-Range", f"bytes {first}-{len(self.image) - 1}/{len(self.image)}")
        request.end_headers()
        if request.command == "GET":
            self.begun.append(first)
            self._send(request, first)

    def _send(self, request: http.server.BaseHTTPRequestHandler, at: int) -> None:
        while at < len(self.image):
            if at >= self.stop_at:
                self._reached.set()
                self._ended.wait(SECONDS)
                return
            piece = self.image[at : min(at + PIECE, max(self.stop_at, at + 1))]
            try:
                request.wfile.write(piece)
            except OSError:  # the client has left
                return
            at += len(piece)

    @contextmanager
    def served(self) -> Iterator[HeldBack]:
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}/image"
            try:
                yield self
            finally:
                self._ended.set()
                server.shutdown()
                thread.join()
