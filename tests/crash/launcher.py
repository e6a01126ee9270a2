"""A process with the whole package imported, which forks a victim for each command: hundredths of a second instead of a whole one.

Reads a request a line on stdin and answers with a line on stdout. A request: ``arguments`` of glance-stream, ``out`` and ``err``
(files), ``stdin`` (a file that is fed through a pipe, or null), ``shift`` (seconds that the victim's clock is ahead) and ``harm``:
``number`` (of a signal) at a step (``label``, ``nth``) or after ``delay`` seconds; ``again``: a second signal so many steps or
seconds later. ``power``: where all that it does to files is logged. The answer: ``status`` as `os.waitstatus_to_exitcode` has it,
and what its board says.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from crash.steps import Board, Steps

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
SECONDS = 100.0  # that a victim may take; one that takes longer hangs


def main() -> None:
    _import_everything()
    board = Board()
    steps = Steps(board)
    steps.install()
    gc.collect()
    gc.freeze()  # or the victims' collections copy every page
    assert threading.active_count() == 1, "a fork would take no other thread with it"
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line), board, steps)), flush=True)


def _import_everything() -> None:
    import botocore.loaders

    import glance_stream

    for found in pkgutil.walk_packages(glance_stream.__path__, "glance_stream."):
        if found.name.rpartition(".")[2] != "__main__":
            try:
                importlib.import_module(found.name)
            except ImportError as error:
                if (error.name or "").startswith("glance_stream"):
                    raise
    for name in ("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql", "swiftclient"):
        importlib.import_module(name)
    for name in ("psycopg", "pymysql", "rbd", "rados"):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    loader = botocore.loaders.create_loader()
    loader.load_service_model("s3", "service-2")  # half a second that each victim would spend
    botocore.loaders.create_loader = lambda *_: loader


def _run(request: dict[str, Any], board: Board, steps: Steps) -> dict[str, Any]:
    board.clear()
    feeder, reader = _feed(request.get("stdin"))
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_victim(request, reader, steps)
    if reader is not None:
        os.close(reader)
    status, sent = _await(pid, request.get("harm") or {})
    seconds = time.monotonic() - began
    if feeder:
        os.kill(feeder, signal.SIGKILL)
        os.waitpid(feeder, 0)
    found = board.read()
    if status >= 0 and (request.get("harm") or {}).get("number") == signal.SIGKILL:
        sent = 0  # too late: it had ended already
    return {**found, "status": status, "seconds": seconds, "sent": sent + found.get("fired", 0)}


def _be_victim(request: dict[str, Any], reader: int | None, steps: Steps) -> NoReturn:
    code = 99
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        given = os.open(os.devnull, os.O_RDONLY) if reader is None else reader
        for number, source in enumerate((given, os.open(request["out"], new, 0o600), os.open(request["err"], new, 0o600))):
            os.dup2(source, number)
            os.close(source)
        from glance_stream import cli

        cli.group.main = _hearing(cli.group.main)
        faulthandler.enable()
        steps.shift = request.get("shift", 0.0)
        if power := request.get("power"):
            _log_files(power)
        steps.arm(request.get("harm") or {})
        cli.main(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _log_files(power: dict[str, str]) -> None:
    """From now on, in the log of ``shim.c``, which this process was started with."""
    if "ignore" in power:
        os.environ |= {"GLANCE_STREAM_POWER_IGNORE": power["ignore"], "GLANCE_STREAM_POWER_BELOW": power["below"]}
    begin = ctypes.CDLL(None).power_log_begin
    begin(power["log"].encode(), power["root"].encode())


def _hearing(call: Callable[..., Any]) -> Callable[..., Any]:
    """Python's own start, and ours in this launcher, is not what interrupts are to meet: they come once the program has begun."""

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        return call(*arguments, **keywords)

    return wrapped


def _feed(path: str | None) -> tuple[int, int | None]:
    """A process that writes the file into a pipe, and the pipe's other end."""
    if path is None:
        return 0, None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            content = Path(path).read_bytes()
            for start in range(0, len(content), 1 << 16):
                os.write(writer, content[start : start + (1 << 16)])
        finally:
            os._exit(0)
    os.close(writer)
    return pid, reader


def _await(pid: int, harm: dict[str, Any]) -> tuple[int, int]:
    """The exit code, or the negative of the signal that killed it; and how many signals were sent. One that hangs is aborted."""
    handle, sent = os.pidfd_open(pid), 0
    try:
        if "delay" in harm:
            for seconds in (harm["delay"], *([harm["again"]] if harm.get("again") else [])):
                if not select.select([handle], [], [], seconds)[0]:
                    os.kill(pid, harm["number"])
                    sent += 1
        if not select.select([handle], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGABRT)  # its threads' stacks go to its standard error
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), sent


if __name__ == "__main__":
    main()
