"""System calls that fail when and where a test says, in the real program: a library that is loaded before libc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pytest

HERE = Path(__file__).parent
FAULTS = "GLANCE_STREAM_FAULTS"
SEEN = "GLANCE_STREAM_FAULTS_SEEN"
WATCH = "GLANCE_STREAM_FAULTS_WATCH"
CLOCK = "GLANCE_STREAM_CLOCK"
SECONDS = 60  # a run that takes longer is hung, and killed by SIGALRM
WAIT = 120.0  # for the server's own end


@dataclass(frozen=True)
class Rule:
    """The ``number``-th ``call`` (from 1) on a path that matches ``glob`` goes wrong. The words are explained in preload.c."""

    call: str
    number: int
    error: int
    glob: str
    mode: str = "once"

    def __str__(self) -> str:
        return f"{self.call} {self.mode} {self.number} {self.error} {self.glob}"


@dataclass(frozen=True)
class Ended:
    """A run that ended: its exit code (negative: the signal that killed it), and what it told."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """Its last event, which must be the result and agree with the exit code."""
        told: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert (told["event"], told["exit_code"]) == ("result", self.code), self
        return told


def build_preload(directory: Path) -> Path:
    """The library, compiled. Skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler: apt-get install gcc libc6-dev")
    library = directory / "preload.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-std=gnu11"]
    subprocess.run([compiler, *flags, "-o", library, HERE / "preload.c", "-ldl"], check=True)
    return library


class ForkServer:
    """The program, ready to run: each run is a fork of a process that has imported everything and has done nothing yet."""

    def __init__(self, library: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GLANCE_STREAM_C", "XDG_"))}
        environment |= {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._directory = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, HERE / "server.py"],
            env=environment,
            cwd=self._directory.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def run(
        self,
        arguments: Sequence[object],
        home: Path,
        *,
        rules: Sequence[Rule] = (),
        watch: str = "",
        seen: Path | None = None,
        clock: str = "",
        limits: Mapping[str, int] | None = None,
        streams: Mapping[int, str] | None = None,
        user: int = 0,
        seconds: int = SECONDS,
    ) -> Ended:
        """Run the program in ``home``.

        limits: resource -> its soft and hard limit; RLIMIT_AS is in bytes above what the process has when it starts.
        streams: descriptor -> the file in the place of what is collected. user: the id of the one to run as, for root.
        """
        told = {1: os.path.join(self._directory.name, "out"), 2: os.path.join(self._directory.name, "err"), **(streams or {})}
        faults = {FAULTS: "\n".join(map(str, rules)), CLOCK: clock, WATCH: watch, SEEN: str(seen or "")}
        asked = {
            "arguments": [str(argument) for argument in arguments],
            "home": str(home),
            "environment": {name: value for name, value in faults.items() if value},
            "limits": dict(limits or {}),
            "streams": told,
            "user": user,
            "seconds": seconds,
        }
        self._pipe(self._process.stdin).write(json.dumps(asked) + "\n")
        self._pipe(self._process.stdin).flush()
        code = int(self._answer())
        return Ended(code, *(Path(told[number]).read_text() if number not in (streams or {}) else "" for number in (1, 2)))

    def _answer(self) -> str:
        return self._pipe(self._process.stdout).readline().strip()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pipe(self._process.stdin).close()
        assert self._process.wait(WAIT) == 0
        self._pipe(self._process.stdout).close()
        self._directory.cleanup()
