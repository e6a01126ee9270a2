"""Where a command tells what happens: to a person, or in JSON to a program.

Results go to stdout; progress and complaints go to stderr (all of it to stdout in JSON). A reader of stdout that goes away, or a
full disk behind it, ends the telling and not the work: an import of an hour must not be undone because somebody closed a pager.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from glance_stream.errors import EXIT_FAILED

if TYPE_CHECKING:
    from glance_stream.cli.progress import Display
    from glance_stream.transfer import Progress

# A program that reads progress has no use for more, and a log file even less.
PROGRESS_SECONDS = 0.5

# A store's failure comes as a warning when it happens and mostly once more with the result; people are told it once, at the end.
OF_A_STORE = "store '"

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
    """``phase`` is that of the last progress told; ``reading``: what is read just now, where there is more than one thing to read.

    image_id: of the image that the command works on. unwritten: why stdout took no more of what was told.
    only_tells: the command changes nothing, so that it has failed when nobody could be told.
    """

    phase = ""
    reading = ""
    verbose = False
    only_tells = False
    image_id: str | None = None
    unwritten: OSError | None = None

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
    def chosen(self, image_id: str) -> None:
        """The id of a new image, which nobody knows but us: whoever is killed must be able to go on with it."""

    @abstractmethod
    def measured(self, measurement: Mapping[str, object]) -> None:
        """How far a benchmark is."""

    def interrupted(self, message: str) -> None:
        """A signal has arrived, and this is what comes of it."""
        self.warning(message)

    def finish(self, result: Result) -> int:
        """Tell the result, as the last thing; returns the exit code: that of what was done, even if nothing could be told."""
        self.conclude(result)
        if self.unwritten is not None:
            say(sys.stderr, f"error: the result could not be written: {self.unwritten.strerror or self.unwritten}")
            if self.only_tells:
                return result.exit_code or EXIT_FAILED
        return result.exit_code

    @abstractmethod
    def conclude(self, result: Result) -> None: ...

    def tell(self, line: str) -> None:
        """Write a line to stdout."""
        self.unwritten = say(sys.stdout, line) or self.unwritten

    def trace(self) -> None:
        """The traceback of the error that is being handled, for who wants it."""
        if self.verbose:
            for line in traceback.format_exc().splitlines():
                say(sys.stderr, line)


class Human(Reporter):
    """Bars on a terminal while it lasts, then a few lines."""

    def __init__(self) -> None:
        self._display: Display | None = None
        self._over = False
        self._held: list[str] = []

    def show(self, moment: Progress) -> None:
        if self._over:
            return
        if self._display is None:
            if not sys.stderr.isatty():
                return
            from glance_stream.cli.progress import Display

            self._display = Display()
        self._display.show(moment, self.reading)

    def warning(self, message: str, level: str = "warning") -> None:
        line = f"{level}: {message}"
        if OF_A_STORE in message and not self.verbose:
            self._held.append(line)
        else:
            say(sys.stderr, line)  # above the bars: while they are shown, sys.stderr is theirs

    def chosen(self, image_id: str) -> None:
        say(sys.stderr, f"image {image_id}")

    def interrupted(self, message: str) -> None:
        self._stop()  # no bars any more: the terminal's echo of ^C moves the cursor, and what follows is short
        self.warning(message)

    def measured(self, measurement: Mapping[str, object]) -> None:
        if sys.stderr.isatty():
            round_, rounds, phase = (measurement.get(name) for name in ("round", "rounds", "phase"))
            say(sys.stderr, f"round {round_} of {rounds}: {phase}" if round_ else f"{phase}")

    def conclude(self, result: Result) -> None:
        self._stop()
        told = "\n".join([*result.lines, result.error[1] if result.error else "", *result.complaints])
        for line in dict.fromkeys(self._held):
            reason = line.partition(OF_A_STORE)[2].partition("': ")[2]
            if not reason or reason not in told:
                say(sys.stderr, line)
        for line in result.lines:
            self.tell(line)
        if result.error is not None:
            for line in f"error: {result.error[1]}".split("\n"):  # one for each copy that could not be read
                say(sys.stderr, line)
        for line in result.complaints:
            say(sys.stderr, line)

    def _stop(self) -> None:
        self._over = True
        if self._display is not None:
            with suppress(OSError):  # the terminal has gone
                self._display.stop()
            self._display = None


class Json(Reporter):
    """One object a line."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, moment: Progress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._moment(moment.phase, moment.read, moment.total, moment.produced, moment.stores, moment.kept)

    def chosen(self, image_id: str) -> None:
        self._moment("opening", 0, None, 0, {}, {})

    def warning(self, message: str, level: str = "warning") -> None:
        self._event("warning", {"message": message})

    def measured(self, measurement: Mapping[str, object]) -> None:
        self._event("progress", measurement)

    def conclude(self, result: Result) -> None:
        fields = dict(result.fields)
        if result.error is not None:
            fields = {**NO_IMAGE, **fields, "error": {"error": result.error[0], "message": result.error[1]}}
        self._event("result", {**fields, "exit_code": result.exit_code})

    def _moment(
        self, phase: str, read: int, total: int | None, produced: int, stores: Mapping[str, int], kept: Mapping[str, int]
    ) -> None:
        told = {"image_id": self.image_id, "phase": phase, "read": read, "total": total, "produced": produced}
        self._event("progress", {**told, "stores": dict(stores), "kept": dict(kept)})

    def _event(self, event: str, fields: Mapping[str, object]) -> None:
        self.tell(json.dumps({"event": event, **fields}))


def say(stream: TextIO | None, line: str) -> OSError | None:
    """Write a line at once. Control characters, which an image's name may hold, don't reach the terminal.

    What can't be written (a full disk, a terminal that has gone) is given up, with all that would follow; the error is given
    back, but not that of a reader who has gone away. A stream that was closed before the start is None: print would take stdout.
    """
    if stream is None:
        return None
    try:
        print(printable(line), file=stream, flush=True)
    except OSError as error:
        drop(stream)
        return None if isinstance(error, BrokenPipeError) else error
    return None


def printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def drop(stream: TextIO) -> None:
    """Nothing can be written here any more: what follows, and what Python flushes at its exit, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
