"""Starts and stops real servers with the scripts of this directory, and lets a test pause, kill and restart their daemons."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent
BUILD = SCRIPTS.parents[1] / "build" / "servers"
START_SECONDS = 300

# What each server needs on the machine: programs, and the client that tests use.
NEEDS = {
    "ceph": (("ceph-mon", "ceph-osd", "ceph", "rbd"), ()),
    "radosgw": (("ceph-mon", "ceph-osd", "ceph", "rbd", "radosgw", "curl"), ("boto3", "swiftclient")),
    "swift": (("swift-proxy-server", "memcached", "curl"), ("boto3", "swiftclient")),
    "keystone": (
        ("swift-proxy-server", "memcached", "curl", "keystone-manage", "waitress-serve"),
        ("swiftclient", "keystoneauth1"),
    ),
    "postgresql": (("initdb", "setpriv"), ("psycopg",)),
    "mariadb": (("mariadbd", "mariadb-install-db", "mariadb-admin"), ("pymysql",)),
}


class ServerError(Exception):
    """A server that is installed does not come up."""


def run_script(server: str, *arguments: str | Path) -> str:
    command = [SCRIPTS / f"{server}.sh", *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_SECONDS, check=False
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise ServerError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}")
    return said


@dataclass(frozen=True)
class ServerHandle:
    """One daemon of a server."""

    server: str
    name: str
    directory: Path
    pidfile: Path

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def alive(self) -> bool:
        try:
            process = Path(f"/proc/{self.pid}")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            # The first thread may be dead while others still write to files and hold their locks.
            return state != "Z" or len(list((process / "task").iterdir())) > 1
        except (FileNotFoundError, ProcessLookupError):
            return False

    def pause(self) -> None:
        """Its sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while self.alive():
            time.sleep(0.01)

    def restart(self) -> None:
        """Killed if need be, and started again: at the same address, with the data that survived. Back as soon as it listens."""
        if self.alive():
            self.kill()
        run_script(self.server, "start", self.directory, self.name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextmanager
    def killed(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            self.restart()


class Fleet:
    """The servers of one test session, each started when first wanted. One that was up already is used and left alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._outcomes: dict[str, dict[str, Any] | ServerError] = {}
        self._started: list[str] = []

    def missing(self, server: str) -> list[str]:
        environments = [os.environ.get("GLANCE_STREAM_SERVERS_VENV"), self.directory / "venv", BUILD / "venv"]
        own = [f"{each}/bin" for each in environments if each]
        path = os.pathsep.join([*own, os.environ["PATH"], "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
        programs, modules = NEEDS[server]
        return [each for each in programs if shutil.which(each, path=path) is None] + [
            f"Python's {each}" for each in modules if find_spec(each) is None
        ]

    def start(self, server: str) -> None:
        """Bring the server up, once. What went wrong is kept for whoever asks for it."""
        if server in self._outcomes or self.missing(server):
            return
        try:
            said = run_script(server, "up", self.directory)
            self._outcomes[server] = json.loads((self.directory / f"{server}.json").read_text())
        except ServerError as failure:
            self._outcomes[server] = failure
            self._started.append(server)
        else:
            self._started += re.findall(r"^(\w+): up in", said, re.MULTILINE)

    def description(self, server: str) -> dict[str, Any]:
        self.start(server)
        outcome = self._outcomes[server]
        if isinstance(outcome, ServerError):
            raise outcome
        return outcome

    def handles(self, server: str) -> Mapping[str, ServerHandle]:
        pidfiles = self.description(server)["daemons"]
        return {name: ServerHandle(server, name, self.directory, Path(pidfile)) for name, pidfile in pidfiles.items()}

    def stop(self) -> None:
        while self._started:
            run_script(self._started.pop(), "down", self.directory)
