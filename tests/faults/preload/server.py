"""Runs the program in a fork for each line of standard input, a JSON object; answers with the exit code."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from glance_stream.cli import main

PROBE = 'default_store = "one"\n[catalogue]\nurl = "sqlite:///probe.db"\n[stores.one]\ntype = "file"\npath = "probe"\n'


def wait_for(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def import_what_it_imports() -> None:
    """Commands import what they need when they need it: one that runs tells what that is."""
    Path("probe.toml").write_text(PROBE)
    Path("image").write_bytes(b"not nothing")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        codes = [probe("import", "image", "--all-stores"), probe("recover", "--sweep")]
        os.write(writing, json.dumps([name for name in sys.modules if name != "__main__"]).encode())
        os._exit(max(codes))
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        names = json.loads(told.read())
    if code := wait_for(child):
        sys.exit(f"the program itself does not work: exit code {code}")
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose threads"


def probe(*command: str) -> int:
    try:
        main(["--config", "probe.toml", *command])
    except SystemExit as end:
        return int(end.code or 0)


def become(asked: dict[str, Any]) -> list[str]:
    """This fork's surroundings are those of the run; gives the program's arguments."""
    signal.alarm(asked["seconds"])
    os.chdir(asked["home"])
    os.environ.update(asked["environment"])
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    for number, path in asked["streams"].items():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | (0 if path.startswith("/dev/") else os.O_TRUNC), 0o600)
        os.dup2(fd, int(number))
        os.close(fd)
    for name, value in asked["limits"].items():
        total = value + (virtual_size() if name == "RLIMIT_AS" else 0)
        resource.setrlimit(getattr(resource, name), (total, total))
    if asked["user"]:
        os.setgroups([])
        os.setresgid(*[asked["user"]] * 3)
        os.setresuid(*[asked["user"]] * 3)
    ctypes.CDLL(None).preload_read()
    return list(asked["arguments"])


def virtual_size() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def serve() -> list[str]:
    """Comes back in each fork."""
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.close(answers.fileno())
            return become(json.loads(line))
        print(wait_for(child), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    import_what_it_imports()
    main(serve())
