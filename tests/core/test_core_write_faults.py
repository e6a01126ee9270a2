"""Writes that fail: the error is the system's own, and nobody else notices."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(60)


def run_beside_a_digest(core, start, feed, fd: int, size: int, **how: bool):
    """The write's error, after a sibling has hashed the whole stream undisturbed."""
    ring = core.Ring(2, 16 * core.PAGE_SIZE)
    lane, sibling = core.WriteLane(ring, fd, **how), core.DigestLane(ring, "sha256")
    run, digest = start(lane.run), start(sibling.run)
    start(feed, ring, bytes(range(256)) * (size // 256)).result()
    digest.result()
    assert sibling.position == size
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is the caller's to check)
        run.result()
    assert lane.detached  # or it would hold the producer up for ever
    assert not ring.failed
    return caught.value


@pytest.mark.parametrize("direct", [True, False])
def test_full_disk(core, start, feed, direct: bool) -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        error = run_beside_a_digest(core, start, feed, file.fileno(), 1 << 20, direct=direct)
    assert error.errno == errno.ENOSPC
    assert str(error) == f"[Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}"


def test_closed_descriptor(core, start, feed) -> None:
    error = run_beside_a_digest(core, start, feed, 1_000_000, 1 << 20)
    assert error.errno == errno.EBADF


def test_read_only_descriptor(core, start, feed, tmp_path) -> None:
    (tmp_path / "image").touch()
    with (tmp_path / "image").open("rb") as file:
        assert run_beside_a_digest(core, start, feed, file.fileno(), 1 << 20).errno == errno.EBADF


def test_pipe_is_no_file(core, start, feed, pipe) -> None:
    assert run_beside_a_digest(core, start, feed, pipe[1], 1 << 20).errno == errno.ESPIPE


def test_read_only_descriptor_and_only_zeros(core, start, feed, tmp_path) -> None:
    """Nothing is written for a hole, but the size has to be set: an error there counts like any other."""
    (tmp_path / "image").touch()
    ring = core.Ring(2, core.PAGE_SIZE)
    with (tmp_path / "image").open("rb") as file:
        lane = core.WriteLane(ring, file.fileno(), thin=True)
        run = start(lane.run)
        start(feed, ring, bytes(20_000)).result()
        with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is what matters)
            run.result()
    assert caught.value.errno in (errno.EINVAL, errno.EBADF)
    assert lane.detached


def test_a_stopped_write_leaves_the_flags_alone(core, start, tmp_path) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    with (tmp_path / "image").open("wb") as file:
        before = fcntl.fcntl(file.fileno(), fcntl.F_GETFL)
        run = start(core.WriteLane(ring, file.fileno()).run)
        ring.reserve()
        ring.publish(ring.slot_size)
        assert run.waits()
        ring.fail()
        with pytest.raises(core.LaneStopped):
            run.result()
        assert fcntl.fcntl(file.fileno(), fcntl.F_GETFL) == before


LIMITED = """
import errno, importlib, resource, signal, sys, threading
core = importlib.import_module(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
ring = core.Ring(2, 16 * core.PAGE_SIZE)
with open(sys.argv[2], "wb") as file:
    lane = core.WriteLane(ring, file.fileno(), direct=sys.argv[3] == "True")
    def run():
        try:
            lane.run()
        except OSError as error:
            print(errno.errorcode[error.errno], lane.detached)
    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(10):
        ring.reserve()[:] = b"x" * ring.slot_size
        ring.publish(ring.slot_size)
    ring.finish()
    thread.join()
"""


@pytest.mark.parametrize("direct", [True, False])
def test_file_size_limit(core, tmp_path, direct: bool) -> None:
    """In a process of its own, since the limit can't be lifted again. Python ignores SIGXFSZ already; others may not."""
    assert hasattr(signal, "SIGXFSZ")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", LIMITED, core.__name__, str(tmp_path / "image"), str(direct)]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert output.split() == ["EFBIG", "True"]
