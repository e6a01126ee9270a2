"""Where a command tells what happens: to a person, or in JSON to a program.

Results go to stdout; progress and complaints go to stderr (all of it to stdout in JSON). A reader of stdout that goes away ends
the telling and not the work: an import of an hour must not be undone because somebody closed a pager.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from glance_stream.cli.progress import Display
    from glance_stream.transfer import Progress

# A program that reads progress has no use for more, and a log file even less.
PROGRESS_SECONDS = 0.5

# What a result that is an error says of an image when there is none to speak of, so that readers need not ask for each key.
NO_IMAGE: Mapping[str, object] = {
    **dict.fromkeys(("image_id", "status", "size", "os_hash_algo", "os_hash_value", "checksum")),
    "stores": [],
    "failed": {},
    "leftovers": [],
    "notes": [],
}


@dataclass(frozen=True)
class Result:
    """How a command ended. ``fields`` are for programs; ``lines`` (stdout) and ``complaints`` (stderr) for people.

    error: the kind and the words of what went wrong; None if nothing did.
    """

    exit_code: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)
    lines: Sequence[str] = ()
    complaints: Sequence[str] = ()
    error: tuple[str, str] | None = None


class Reporter(ABC):
    """``phase`` is that of the last progress told."""

    phase = ""
    verbose = False

    def progress(self, moment: Progress) -> None:
        """Called about ten times a second on the event loop: must return at once."""
        self.phase = moment.phase
        self.show(moment)

    @abstractmethod
    def show(self, moment: Progress) -> None: ...

    @abstractmethod
    def warning(self, message: str, level: str = "warning") -> None:
        """Something the user should know that ends nothing."""

    @abstractmethod
    def measured(self, measurement: Mapping[str, object]) -> None:
        """How far a benchmark is."""

    @abstractmethod
    def finish(self, result: Result) -> int:
        """Tell the result, as the last thing; returns the exit code."""

    def trace(self) -> None:
        """The traceback of the error that is being handled, for who wants it."""
        if self.verbose:
            traceback.print_exc(file=sys.stderr)


class Human(Reporter):
    """Bars on a terminal while it lasts, then a few lines."""

    def __init__(self) -> None:
        self._display: Display | None = None

    def show(self, moment: Progress) -> None:
        if self._display is None:
            if not sys.stderr.isatty():
                return
            from glance_stream.cli.progress import Display

            self._display = Display()
        self._display.show(moment)

    def warning(self, message: str, level: str = "warning") -> None:
        say(sys.stderr, f"{level}: {message}")  # above the bars: while they are shown, sys.stderr is theirs

    def measured(self, measurement: Mapping[str, object]) -> None:
        if sys.stderr.isatty():
            say(sys.stderr, ", ".join(f"{name} {value}" for name, value in measurement.items() if name != "event"))

    def finish(self, result: Result) -> int:
        if self._display is not None:
            self._display.stop()
        for line in result.lines:
            say(sys.stdout, line)
        if result.error is not None:
            say(sys.stderr, f"error: {result.error[1]}")
        for line in result.complaints:
            say(sys.stderr, line)
        return result.exit_code


class Json(Reporter):
    """One object a line."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, moment: Progress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_SECONDS
        told = {"phase": moment.phase, "read": moment.read, "total": moment.total, "produced": moment.produced}
        self._event("progress", {**told, "stores": dict(moment.stores)})

    def warning(self, message: str, level: str = "warning") -> None:
        self._event("warning", {"message": message})

    def measured(self, measurement: Mapping[str, object]) -> None:
        self._event("progress", measurement)

    def finish(self, result: Result) -> int:
        fields = dict(result.fields)
        if result.error is not None:
            fields = {**NO_IMAGE, **fields, "error": {"error": result.error[0], "message": result.error[1]}}
        self._event("result", {**fields, "exit_code": result.exit_code})
        return result.exit_code

    def _event(self, event: str, fields: Mapping[str, object]) -> None:
        say(sys.stdout, json.dumps({"event": event, **fields}))


def say(stream: TextIO, line: str) -> None:
    """Write a line at once. Control characters, which an image's name may hold, don't reach the terminal."""
    try:
        print(printable(line), file=stream, flush=True)
    except BrokenPipeError:
        _drop(stream)


def printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _drop(stream: TextIO) -> None:
    """Nobody reads this any more: what follows, and what Python flushes at its exit, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
