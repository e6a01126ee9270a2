"""The calls of Glance's API that the benchmark makes, against a server that says what Glance says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from compare.peers.glance_server import Server

STATES = ["uploading", "importing", "active"]


class Glance(BaseHTTPRequestHandler):
    """Each GET of an image tells its next state."""

    server: Any

    def do_GET(self) -> None:
        self._answer(200, {"status": self.server.states.pop(0)})

    def do_PUT(self) -> None:
        self.server.staged = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(204)

    def do_POST(self) -> None:
        self.server.asked = (
            self.path,
            self.headers["X-Identity-Status"],
            json.loads(self.rfile.read(int(self.headers["Content-Length"]))),
        )
        self._answer(202, {"id": "i1"})

    def _answer(self, code: int, body: object = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def glance() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Glance) as server:
        server.states = list(STATES)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(glance: Any) -> Server:
    return Server(f"http://127.0.0.1:{glance.server_port}", {"X-Identity-Status": "Confirmed"}, {}, 0)


def test_calls_carry_who_asks(glance: Any, client: Server) -> None:
    assert client.call("POST", "/v2/images", {"name": "image"}) == {"id": "i1"}
    assert glance.asked == ("/v2/images", "Confirmed", {"name": "image"})


def test_a_file_is_staged_whole(glance: Any, client: Server, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(range(256)) * 1000)
    client.stage("i1", tmp_path / "image")
    assert glance.staged == bytes(range(256)) * 1000


def test_an_import_ends_when_the_image_is_active(glance: Any, client: Server) -> None:
    assert client.until_active("i1", 60) == {"status": "active"}
    assert not glance.states


def test_an_import_that_glance_gave_up_is_an_error(glance: Any, client: Server) -> None:
    glance.states = ["importing", "queued"]
    with pytest.raises(RuntimeError, match="queued"):
        client.until_active("i1", 60)


def test_an_import_that_does_not_end_is_an_error(glance: Any, client: Server) -> None:
    with pytest.raises(TimeoutError, match="not active"):
        client.until_active("i1", 0)
