"""The harness's end of a launcher: runs glance-stream once, unharmed or not, and says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """``status``: its exit code, or the negative of the signal that ended it. ``sent``: signals, of which ``fired`` at a step.

    ``label`` and ``phase``: the last step and the last call of the catalogue. ``result``: the result event, if it was told.
    """

    arguments: tuple[str, ...]
    status: int
    seconds: float
    label: str = ""
    phase: str = "starting"
    fired: int = 0
    sent: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    told: str = ""


class Launcher:
    """``directory``: for what victims print. ``preload``: a library that they have before libc."""

    def __init__(self, directory: Path, config: Path, preload: Path | None = None) -> None:
        self._out, self._err = directory / "out", directory / "err"
        self._config = config
        command = [sys.executable, "-m", "crash.launcher"]
        environment = {**os.environ, **({} if preload is None else {"LD_PRELOAD": str(preload)})}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, **pipes, text=True, cwd=TESTS, env=environment)  # type: ignore[call-overload]
        self._read()

    def run(
        self,
        *arguments: str,
        harm: dict[str, Any] | None = None,
        stdin: Path | None = None,
        shift: float = 0.0,
        power: dict[str, str] | None = None,
    ) -> Run:
        given = ["--config", str(self._config), *arguments, "--json"]
        request = {"arguments": given, "out": str(self._out), "err": str(self._err), "harm": harm, "shift": shift, "power": power}
        for path in (self._out, self._err):
            path.write_text("")  # a victim may die before it has opened them
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request | {"stdin": None if stdin is None else str(stdin)}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        out, err = self._out.read_text(errors="replace"), self._err.read_text(errors="replace")
        return Run(tuple(arguments), result=told_result(out), told=f"{out}{err}", **answer)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the launcher has ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.communicate(timeout=30)


def told_result(out: str) -> dict[str, Any] | None:
    """The last whole line, if it is one: a victim may die while it prints."""
    lines = [line for line in out.split("\n")[:-1] if line]
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return None
    return found if found.get("event") == "result" else None
