"""The real program in processes of its own, away from the user's files."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = """
[catalogue]
url = "sqlite:///catalogue.db"
[stores.fast]
type = "file"
path = "fast"
[stores.mirror]
type = "file"
path = "mirror"
[stores.archive]
type = "file"
path = "archive"
"""
STORES = ("fast", "mirror", "archive")
SECONDS = 60.0

# Starting the program takes longer than most commands: many of them in one process.
MANY = """
import json, sys
from glance_stream.cli import main
for command in json.load(sys.stdin):
    try:
        main(command)
    except SystemExit as end:
        print(end.code, flush=True)
"""


class Program:
    """``glance-stream`` on the directory ``home``, by default with three file stores."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config: Path | None = home / "config.toml"
        self.config.write_text(CONFIG)
        self.started: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("GLANCE_STREAM_C", "GLANCE_STREAM_G", "XDG_"))
            },
            "HOME": str(home),
            **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")},
            "TERM": "xterm",
        }

    def set(self, name: str, value: str) -> None:
        """A variable of its environment."""
        self._environment[name] = value

    def start(self, *arguments: object, command: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
        """``command``: what starts it, as ``nohup`` does."""
        config = [] if self.config is None else ["--config", str(self.config)]
        return self._popen([*command, sys.executable, "-m", "glance_stream", *config, *map(str, arguments)], **options)

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=self._environment, cwd=self.home, **(pipes | options))
        self.started.append(process)
        return process

    def run(self, *arguments: object, code: int = 0, **options: Any) -> tuple[str, str]:
        """Its stdout and stderr; it must exit with ``code``."""
        return ended(self.start(*arguments, **options), code)

    def json(self, *arguments: object, code: int = 0, **options: Any) -> dict[str, Any]:
        """The result, which must be the last line, and which must say the exit code."""
        out, err = self.run(*arguments, "--json", code=code, **options)
        return result_of(out, err, code)

    def many(self, *commands: list[object]) -> list[dict[str, Any]]:
        """The result of each."""
        config = [] if self.config is None else ["--config", str(self.config)]
        words = json.dumps([[*config, *map(str, command), "--json"] for command in commands])
        process = self._popen([sys.executable, "-c", MANY], stdin=subprocess.PIPE)
        out, err = (text.decode() for text in process.communicate(words.encode(), SECONDS))
        assert (process.returncode, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        results = [(line, code) for line, code in itertools.pairwise(lines) if isinstance(code, int)]
        assert all(result["event"] == "result" and result["exit_code"] == code for result, code in results)
        assert len(results) == len(commands)
        return [result for result, _ in results]

    def objects(self, store: str) -> list[str]:
        """Names of all files in a store, temporary ones too."""
        directory = self.home / store
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    def size(self, store: str) -> int:
        """Of all files in a store."""
        return sum((self.home / store / name).stat().st_size for name in self.objects(store))

    def break_store(self, store: str) -> None:
        """A plain file is where the store's directory should be."""
        (self.home / store).write_text("not a directory")


def ended(process: subprocess.Popen[bytes], code: int) -> tuple[str, str]:
    out, err = (text.decode() if text else "" for text in process.communicate(timeout=SECONDS))
    assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out, err


def result_of(out: str, err: str, code: int) -> dict[str, Any]:
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events].count("result") == 1
    result: dict[str, Any] = events[-1]
    assert result["event"] == "result"
    assert result["exit_code"] == code
    assert err == ""
    return result


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


class Endless:
    """A FIFO with more than the program looks at first, and with an end that does not come."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDWR)  # so that neither side waits for the other
        self._feeding = threading.Thread(target=self._feed, daemon=True)

    def start(self) -> None:
        """As much as is read, up to 1 MiB."""
        self._feeding.start()

    def _feed(self) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more
            for _ in range(16):
                os.write(self._fd, b"\1" * 65536)

    def close(self) -> None:
        """Empty it, so that a writer that waits goes on; a test that killed the reader leaves it full."""
        os.set_blocking(self._fd, False)
        while self._feeding.is_alive():
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 1 << 20)
            self._feeding.join(0.01)
        os.close(self._fd)
