"""A way to a database server on which one COMMIT is lost: before it arrives, its answer, or the client while it is on its way."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType

COMMIT = re.compile(rb"COMMIT(?!TED)")  # "BEGIN ISOLATION LEVEL READ COMMITTED" is another thing

LOST = "before it arrives"
UNANSWERED = "its answer"
LATE = "it arrives after the client has given up"


class CuttingProxy:
    """Listens on ``port``. After `cut_next` the next COMMIT is dealt with so, once."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self.release = threading.Event()
        self._wanted: str | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut_next(self, how: str) -> None:
        self._wanted = how

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server, timeout=60)
            self._open += [client, server]
            answered = threading.Event()
            self._start(self._forward, client, server, answered)
            self._start(self._back, server, client, answered)

    def _forward(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        try:
            while data := client.recv(1 << 16):
                how = self._wanted if COMMIT.search(data) else None
                if how is None:
                    server.sendall(data)
                    continue
                self._wanted = None
                self.cuts += 1
                _end(client)
                if how == LATE:
                    self.release.wait(60)
                if how == LOST:
                    break
                answered.clear()
                server.sendall(data)
                answered.wait(60)
                break
        except OSError:
            pass
        _end(server)

    def _back(self, server: socket.socket, client: socket.socket, answered: threading.Event) -> None:
        try:
            while data := server.recv(1 << 16):
                answered.set()
                client.sendall(data)
        except OSError:
            pass
        _end(client)

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            _end(each)
        for thread in self._threads:
            thread.join(30)
        for each in self._open:
            each.close()


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
