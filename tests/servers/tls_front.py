"""TLS in front of a real server that speaks plain http: the certificate of a test's own authority, for localhost."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

MAKE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Certificate and key; the certificate is its own authority."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*shlex.split(MAKE), *names], check=True, capture_output=True)
    return certificate, key


class TlsFront:
    """Gives what it decrypts to ``upstream`` (an http URL), and encrypts what comes back."""

    def __init__(self, upstream: str, certificate: tuple[Path, Path]) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.endpoint = f"https://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> TlsFront:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for each in self._open:
            each.close()

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, name="tls-front", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        with suppress(OSError):  # ssl.SSLError is one: a client that does not trust the certificate hangs up
            client.settimeout(60)
            near = self._context.wrap_socket(client, server_side=True)
            self._open.append(near)
            far = socket.create_connection(self._upstream, timeout=60)
            self._open.append(far)
            self._start(_copy, near, far)
            _copy(far, near)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(64 << 10):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
