"""glance_store's file driver, called for each store as Glance calls it: each time all is read and hashed anew (md5 and sha512)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from compare.ground import Ground
from compare.job import Job, require
from compare.peers import installing
from compare.peers.peer import SOURCE, STORES, Copied, Copy, peer

SCRIPT = Path(__file__).with_name("glance_store_add.py")
REQUIREMENTS = "glance-store-requirements.txt"
PYTHON = installing.VENV / "bin" / "python"


def jobs() -> list[Job]:
    return [
        peer("glance-store", "glance_store, store after store", partial(added, threads=1), unavailable),
        peer("glance-store-parallel", "glance_store, 3 threads", partial(added, threads=STORES), unavailable),
    ]


def unavailable() -> str | None:
    reason = installing.missing(REQUIREMENTS)
    return f"not compared with glance_store: {reason}" if reason else None


@contextmanager
def added(ground: Ground, threads: int, python: str | Path = PYTHON) -> Iterator[Copy]:
    """The script runs in the peer's own Python, without our paths. It has imported everything when the watch starts and ends after
    it: only the CPU seconds that it tells of count."""
    command = [python, "-I", SCRIPT, str(threads), ground.source(SOURCE), *ground.stores(STORES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        require(_line(process), "ready", "the script's first word")
        yield partial(_add, process)


def _add(process: subprocess.Popen[str]) -> Copied:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    said = json.loads(_line(process))
    require(said["digests"], said["digests"][:1] * STORES, "the stores' digests")
    return Copied([Path(path) for path in said["files"]], said["digests"][0], said["user"], said["system"])


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
