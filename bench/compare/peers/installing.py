"""Installs peers from PyPI into an environment of their own, once: their dependencies are none of this project's."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
VENV = HERE.parents[2] / "build" / "compare" / "venv"
SECONDS = 900  # uWSGI is compiled
PIP = ("-I", "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--requirement")


class NotInstalled(Exception):
    """Why a peer can't be compared with, in one line."""


def install(requirements: str, venv: Path = VENV) -> Path:
    """The ``bin`` directory of the environment with what this file of ours asks for. Blocks, at first for up to some minutes.

    A second process waits for the first. Raises NotInstalled: offline, no disk space, no compiler.
    """
    wanted = HERE / requirements
    try:
        with _alone(venv):
            if not installed(requirements, venv):
                if not (venv / "bin" / "python").exists():
                    _run([sys.executable, "-I", "-m", "venv", str(venv)])
                _run([str(venv / "bin" / "python"), *PIP, str(wanted)])
                (venv / f"installed-{requirements}").write_text(wanted.read_text())
    except OSError as error:
        raise NotInstalled(str(error)) from error
    return venv / "bin"


def installed(requirements: str, venv: Path = VENV) -> bool:
    """Whether it has been installed as the file asks today."""
    stamp = venv / f"installed-{requirements}"
    return stamp.exists() and stamp.read_text() == (HERE / requirements).read_text()


@cache
def missing(requirements: str) -> str | None:
    """Install; why it can't be done, once: who is offline must not wait for each peer anew."""
    try:
        install(requirements)
    except NotInstalled as reason:
        return str(reason)
    return None


@contextmanager
def _alone(venv: Path) -> Iterator[None]:
    venv.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{venv}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as failure:
        raise NotInstalled(_reason(failure.stderr or failure.stdout)) from failure
    except subprocess.TimeoutExpired as late:
        raise NotInstalled(f"pip did not end within {SECONDS} s") from late


def _reason(said: str) -> str:
    """pip's last error names what was asked for; what comes after it is advice."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error", "Error"))]
    return (errors or lines or ["no reason given"])[-1]
