"""One job in a process of its own: its CPU, its peak of memory and the state of its pages are nobody else's."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import msgspec

from compare.ground import Ground
from compare.job import Job
from compare.result import Sample

TAIL = 2000  # characters of what a job said that are worth showing
SLOWEST = 5e6  # bytes a second: what is slower than this hangs
START = 120.0


class JobFailed(Exception):
    """With what the job's process printed last."""


def run(job: Job, ground: Ground, limit: float | None = None) -> Sample:
    """One sample. ``limit``: seconds for everything, set-up and check included; else by the ground's size. Raises JobFailed.

    The process leads a session of its own: whatever it started ends with it.
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as place, (Path(place) / "said").open("w+b") as said:
        answer = Path(place) / "sample.json"
        process = _start(answer, said)
        try:
            assert process.stdin is not None
            with process.stdin as stdin:
                stdin.write(pickle.dumps((str(answer), job.run, ground)))
            ended = _ends_within(process.pid, limit or START + ground.size / SLOWEST)
        except BrokenPipeError:
            ended = True  # before it knew its job: what it said tells why
        finally:
            code = _end(process)
        if not ended:
            raise JobFailed(f"{job.key} did not end in time{_tail(said)}")
        if code != 0 or not answer.exists():
            raise JobFailed(f"{job.key} ended with {code}{_tail(said)}")
        return msgspec.json.decode(answer.read_bytes(), type=Sample)


def _start(answer: Path, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """With our module path, so that what was pickled here is found there; but not for what it starts, which may be of another
    environment."""
    program = f"import sys; sys.path[:] = {sys.path!r}; from compare.child import main; main()"
    command = [sys.executable, "-u", "-c", program]  # unbuffered: what it said comes in the order in which it said it
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)


def _ends_within(pid: int, seconds: float) -> bool:
    """Without waiting for it, so that its number stays its own."""
    fd = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([fd], [], [], seconds)
        return bool(ready)
    finally:
        os.close(fd)


def _end(process: subprocess.Popen[bytes]) -> int:
    """The process and all of its group; its exit status."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    text = said.read().decode(errors="replace").strip()
    return f": {text[-TAIL:]}" if text else ""
