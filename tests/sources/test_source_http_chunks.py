"""A server whose chunk sizes make no sense."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from glance_stream.errors import SourceError
from glance_stream.sources.http import HttpSource
from glance_stream.sources.http_limits import HttpLimits

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=[b"-1", b"-ffff", b"zz", b"", b"1" * 40], ids=repr)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every connection gets a chunk with that size."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    head = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "1"\r\n\r\n'
                    connection.sendall(head + request.param + b"\r\n" + b"x" * 5000)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/image"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_senseless_chunks_are_an_error_of_the_source(url: str) -> None:
    source = HttpSource(url, limits=HttpLimits(tries=2, idle_seconds=5), pause=lambda _: None)
    view = memoryview(bytearray(1000))

    def read() -> None:
        source.open()
        while source.readinto(view):
            pass

    with pytest.raises(SourceError):
        read()
    source.close()
