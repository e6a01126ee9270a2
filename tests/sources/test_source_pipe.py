import os
import pty
import socket
import threading
import time
from pathlib import Path

import pytest

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.pipe import PipeSource


def drain(source: PipeSource) -> bytes:
    view = memoryview(bytearray(1000))
    out = bytearray()
    while count := source.readinto(view):
        out += view[:count]
    return bytes(out)


@pytest.mark.timeout(60)
def test_pipe_has_no_size_and_is_left_open() -> None:
    reader, writer = os.pipe()
    source = PipeSource(reader)
    assert source.open().size is None
    os.write(writer, b"abc")
    assert source.readinto(memoryview(bytearray(10))) == 3
    os.close(writer)
    assert drain(source) == b""
    source.close()
    source.close()
    os.close(reader)  # would raise if the source had closed it


@pytest.mark.timeout(60)
def test_socket_and_non_blocking_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        source = PipeSource(ours.fileno(), "a socket")
        source.open()
        timer = threading.Timer(0.05, lambda: (theirs.sendall(b"late"), theirs.shutdown(socket.SHUT_WR)))
        timer.start()
        assert drain(source) == b"late"
        timer.join()
        source.close()


def test_redirected_file_is_read_from_its_position(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"0123456789")
    with path.open("rb", buffering=0) as file:
        file.seek(4)
        source = PipeSource(file.fileno())
        assert source.open().size == 6
        assert source.fileno() == file.fileno()
        assert drain(source) == b"456789"
        source.verify_unchanged()
        path.write_bytes(b"other content")
        with pytest.raises(SourceError, match="changed"):
            source.verify_unchanged()
        source.close()


def test_terminal_is_refused() -> None:
    primary, secondary = pty.openpty()
    try:
        with pytest.raises(InvalidRequest, match="is a terminal: redirect"):
            PipeSource(secondary).open()
    finally:
        os.close(primary)
        os.close(secondary)


def test_directory_and_closed_descriptor_are_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InvalidRequest, match="directory"):
        PipeSource(fd).open()
    os.close(fd)
    with pytest.raises(InvalidRequest, match="closed"):
        PipeSource(fd).open()


def test_dev_null_is_empty() -> None:
    with open(os.devnull, "rb") as file:
        source = PipeSource(file.fileno())
        source.open()
        assert drain(source) == b""
        source.close()


@pytest.mark.timeout(60)
def test_interrupt_ends_a_blocked_read_at_once() -> None:
    reader, writer = os.pipe()
    source = PipeSource(reader, "the pipe")
    source.open()
    timer = threading.Timer(0.1, lambda: (source.interrupt(), source.interrupt()))
    timer.start()
    start = time.monotonic()
    with pytest.raises(SourceError, match="reading the pipe was interrupted"):
        drain(source)
    assert time.monotonic() - start < 1
    timer.join()
    source.close()
    source.interrupt()
    os.close(reader)
    os.close(writer)


def test_a_reset_socket_is_an_error_and_not_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        source = PipeSource(ours.fileno())
        source.open()
        with pytest.raises(SourceError, match="reset"):
            drain(source)
        source.close()
