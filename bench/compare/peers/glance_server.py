"""Real Glance on this machine, with its file stores where we measure, and the few calls of its API that an import takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from compare.ground import Ground
from compare.peers import installing
from compare.peers.peer import STORES

REQUIREMENTS = "glance-requirements.txt"
SCRIPT = Path(__file__).parents[3] / "tests" / "servers" / "glance.sh"
POLL = 0.05  # seconds, by which an import may be told too long
CALL_SECONDS = 60  # without a byte
TICK = 1 / os.sysconf("SC_CLK_TCK")


def unavailable() -> str | None:
    reason = "curl not installed" if shutil.which("curl") is None else installing.missing(REQUIREMENTS)
    return f"not compared with Glance: {reason}" if reason else None


@dataclass(frozen=True)
class Server:
    """``stores``: directories by name. ``worker``: the process that imports."""

    url: str
    headers: Mapping[str, str]
    stores: Mapping[str, str]
    worker: int

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON. Raises OSError, urllib's HTTPError among them."""
        content = None if body is None else json.dumps(body).encode()
        return json.loads(self._send(method, path, content, "application/json") or "null")

    def stage(self, image: str, source: Path) -> None:
        with source.open("rb") as file:
            self._send("PUT", f"/v2/images/{image}/stage", file, "application/octet-stream", str(source.stat().st_size))

    def until_active(self, image: str, patience: float) -> dict[str, Any]:
        """The image, imported. Raises RuntimeError if Glance gave up, TimeoutError."""
        deadline = time.monotonic() + patience
        while (said := self.call("GET", f"/v2/images/{image}"))["status"] != "active":
            if said["status"] not in ("uploading", "importing"):
                raise RuntimeError(f"the import ended as {said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not active within {patience} s: {said}")
            time.sleep(POLL)
        return dict(said)

    def cpu(self) -> tuple[float, float]:
        """User and system seconds of the worker so far."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) * TICK, int(fields[12]) * TICK

    def peak_bytes(self) -> int:
        """Of the worker so far."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _send(self, method: str, path: str, body: bytes | IO[bytes] | None, kind: str, length: str | None = None) -> bytes:
        headers = {**self.headers, "Content-Type": kind} | ({"Content-Length": length} if length else {})
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
            return bytes(answer.read())


@contextmanager
def served(ground: Ground, parallel: int, nosleep: bool) -> Iterator[Server]:
    """A new one, gone at the end. It stages and stores on the ground, and its own files are where no clearing of the ground is."""
    root = Path(tempfile.mkdtemp(prefix="glance-", dir=installing.VENV.parent))
    stores = " ".join(f"s{number}={path}" for number, path in enumerate(ground.stores(STORES)))
    settings = {"STORES": stores, "STAGING": str(ground.work()), "PARALLEL": str(parallel), "NOSLEEP": str(int(nosleep))}
    with _ended_with_us(root):
        environment = {**os.environ, **settings, "GLANCE_STREAM_SERVERS_VENV": str(installing.VENV)}
        subprocess.run([SCRIPT, "up", root], check=True, env=environment)
        said = json.loads((root / "glance.json").read_text())
        master = int(Path(said["daemons"]["glance"]).read_text())
        worker = int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])
        yield Server(said["url"], said["headers"], said["stores"], worker)


@contextmanager
def _ended_with_us(root: Path) -> Iterator[None]:
    """A shell of a session of its own waits until we close its input, or are killed, and then ends the server."""
    command: list[str | Path] = ["sh", "-c", 'cat; "$0" down "$1"; rm -rf "$1"', SCRIPT, root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield
