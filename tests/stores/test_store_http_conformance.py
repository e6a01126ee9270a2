"""The http store joins the suite of read-only stores, over a real web server on a directory of images."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conformance import ReadOnlyConformance
from subject import IMAGE, Subject, content

from glance_stream.model import Location
from glance_stream.stores.http import HttpStore


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / IMAGE).write_bytes(content(50_000))
    os.utime(tmp_path / IMAGE, (1, 1))  # its Last-Modified proves nothing of a file changed within this minute
    return tmp_path


@pytest.fixture
def url(images: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(images))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


class TestHttpStore(ReadOnlyConformance):
    @pytest.fixture(params=["web", "Bär/β 1"], ids=["plain", "strange id"])
    def subject(self, request: pytest.FixtureRequest, images: Path, url: str) -> Subject:
        store_id = request.param
        return Subject(
            HttpStore(store_id, url),
            objects=lambda: {path.name for path in images.iterdir()},
            leavings=list,
            corrupt=lambda location: (images / location.url.rpartition("/")[2]).write_bytes(bytes(50_000)) and None,
            stored=(Location(f"{url}{IMAGE}", store_id), content(50_000)),
        )
