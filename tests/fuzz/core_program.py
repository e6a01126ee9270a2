"""Random programs for the core: what a producer, lanes and others may do, a step at a time, and what comes of it.

Each party has a thread of its own, and a step may be one that waits. Only the twin can be asked whether it will: `settle` waits
until nothing in it can go on, and then the compiled core has to be in that state too. So a run depends on no clock.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

HANG_SECONDS = 20.0
PAGE = 4096
CONTENTS = (bytes(PAGE), b"\xff" * PAGE, b"glance stream   " * (PAGE // 16), bytes(PAGE - 1) + b"\x01")

Step = tuple[Any, ...]


@dataclass(frozen=True)
class Program:
    """``lanes``: 'plain', an algorithm, or ('write', thin, direct). ``steps``: a method of `Stage`, its party and arguments."""

    slots: int
    pages: int
    lanes: tuple[Any, ...]
    steps: tuple[Step, ...]


class Party:
    """A thread that makes one call at a time."""

    def __init__(self) -> None:
        self.busy = ""
        self.result: Any = None
        self._done = threading.Event()
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def call(self, what: str, function: Callable[[], Any]) -> None:
        self._done.clear()
        self.busy = what
        self._calls.put(function)

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def collect(self) -> Any:
        self.busy = ""
        return self.result

    def stop(self) -> None:
        self._calls.put(None)

    def _run(self) -> None:
        while (function := self._calls.get()) is not None:
            try:
                self.result = function()
            except Exception as error:
                number = error.errno if isinstance(error, OSError) else None
                self.result = (type(error).__name__, number)
            self._done.set()
            function = None


class Stage:
    """One core running a program."""

    def __init__(self, core: ModuleType, program: Program, place: Path) -> None:
        self.core = core
        self.ring = core.Ring(program.slots, program.pages * PAGE)
        self.files: list[Path] = []
        self._open: list[int] = []
        self._place = place
        self.lanes = [self._lane(kind) for kind in program.lanes]
        self.kinds = program.lanes
        self.held: list[Any] = [None] * len(self.lanes)
        self.views: list[Any] = [None] * len(self.lanes)
        self.producer = Party()
        self.readers = [Party() for _ in self.lanes]

    def _lane(self, kind: Any) -> Any:
        if kind == "plain":
            return self.ring.lane()
        if isinstance(kind, str):
            return self.core.DigestLane(self.ring, kind)
        self.files.append(self._place / f"{self.core.__name__}-{len(self.files)}")
        fd = os.open(self.files[-1], os.O_WRONLY | os.O_CREAT)
        self._open.append(fd)
        return self.core.WriteLane(self.ring, fd, thin=kind[1], direct=kind[2])

    # -- steps: None if there is nothing to see yet ---------------------------------------------------------------------------

    def put(self, content: int, short: int) -> Any:
        """Reserve, write and publish. Waits for room."""
        return self._produce("put", lambda: self._put(content, short))

    def reserve(self) -> Any:
        return self._produce("reserve", lambda: len(self.ring.reserve()))

    def publish(self, length: int) -> Any:
        return self._produce("publish", lambda: self.ring.publish(length))

    def fill(self, size: int, prefix: int, piped: bool) -> Any:
        return self._produce("fill", lambda: self._fill(size, prefix, piped))

    def fill_nothing(self) -> Any:
        return self._produce("fill_nothing", lambda: self.ring.fill_fd(-1))

    def run(self, n: int) -> Any:
        return self._read("run", n, lambda: self.lanes[n].run(), plain=False)

    def take(self, n: int) -> Any:
        return self._read("take", n, lambda: self._take(n), plain=True)

    def release(self, n: int) -> Any:
        return self._read("release", n, lambda: self._release(n), plain=True)

    def hold(self, n: int) -> Any:
        return self._read("hold", n, lambda: self._hold(n), plain=True)

    def let_go(self, n: int) -> Any:
        self.views[n] = None

    def detach(self, n: int) -> Any:
        self.lanes[n].detach()

    def join(self) -> Any:
        """A lane that comes late is refused; one in time leaves again, so that the program's lanes stay as they are."""
        with suppress(ValueError):
            lane = self.ring.lane()
            lane.detach()
            return "joined"
        return "too late"

    def finish(self) -> Any:
        self.ring.finish()

    def fail(self) -> Any:
        self.ring.fail()

    # -- how they are made ----------------------------------------------------------------------------------------------------

    def _produce(self, what: str, function: Callable[[], Any]) -> Any:
        if not self.producer.busy:
            self.producer.call(what, function)

    def _read(self, what: str, n: int, function: Callable[[], Any], *, plain: bool) -> Any:
        if not self.readers[n].busy and (self.kinds[n] == "plain") is plain:
            self.readers[n].call(what, function)

    def _put(self, content: int, short: int) -> None:
        size = self.ring.slot_size - short
        with self.ring.reserve() as view:
            view[:size] = (CONTENTS[content] * (size // PAGE + 1))[:size]
        self.ring.publish(size)

    def _fill(self, size: int, prefix: int, piped: bool) -> int:
        stream = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
        if not piped:
            source = self._place / f"{self.core.__name__}-source"
            source.write_bytes(stream)
            with source.open("rb", buffering=0) as file:
                return self.ring.fill_fd(file.fileno(), bytes(prefix))
        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as file:
            with open(write_end, "wb", buffering=0) as end:  # less than a pipe holds
                end.write(stream)
            return self.ring.fill_fd(file.fileno(), bytes(prefix))

    def _take(self, n: int) -> Any:
        slot = self.lanes[n].take()
        if slot is None:
            return "end"
        self.held[n] = slot
        return slot.offset, slot.length, len(slot), slot.zero, slot.fingerprint, bytes(slot.view)

    def _hold(self, n: int) -> int | None:
        if self.held[n] is not None:
            self.views[n] = self.held[n].view[1:]
            return len(self.views[n])
        return None

    def _release(self, n: int) -> None:
        self.lanes[n].release()
        self.held[n] = None

    # -- what can be seen -----------------------------------------------------------------------------------------------------

    @property
    def parties(self) -> list[Party]:
        return [self.producer, *self.readers]

    def facts(self) -> tuple[Any, ...]:
        ring = self.ring
        lanes = [(lane.position, lane.detached) for lane in self.lanes]
        return ring.produced, ring.failed, ring.finished, ring.fingerprints(), lanes

    def results(self) -> list[Any]:
        """What each party has got since the last time; those that wait stay busy."""
        return [party.collect() if party.busy and party.done else ("waits" if party.busy else None) for party in self.parties]

    def digests(self) -> list[str]:
        return [lane.hexdigest() for lane, kind in zip(self.lanes, self.kinds, strict=True) if has_digest(lane, kind)]

    def close(self) -> None:
        self.ring.fail()
        for party in self.parties:
            party.stop()
        for party in self.parties:
            party.thread.join(HANG_SECONDS)
            assert not party.thread.is_alive(), f"hangs in {party.busy}"
        for fd in self._open:
            os.close(fd)


def has_digest(lane: Any, kind: Any) -> bool:
    if not isinstance(kind, str) or kind == "plain":
        return False
    try:
        lane.hexdigest()
    except ValueError:
        return False
    return True


def _can_go_on(twin: Stage) -> bool:
    """Whether any call in the twin is on its way. All is looked at under the twin's one lock, so it is one moment."""
    ring = twin.ring
    with ring._changed:
        room_may_come = ring._state is type(ring._state).OPEN and not ring._short_seen and not ring._next_is_free()
        waits = room_may_come and twin.producer.busy in ("put", "reserve", "fill")
        if twin.producer.busy and not twin.producer.done and not waits:
            return True
        for lane, party in zip(twin.lanes, twin.readers, strict=True):
            if party.busy and not party.done and (party.busy not in ("take", "run") or lane._has_news()):
                return True
    return False


def settle(twin: Stage) -> None:
    _wait(lambda: not _can_go_on(twin), lambda: f"the twin hangs: {[party.busy for party in twin.parties]}")


def follow(twin: Stage, other: Stage) -> None:
    """Wait until the other core is where the twin is. That it then stays there is for the next step to see."""

    def alike() -> bool:
        done = [party.busy and party.done for party in twin.parties] == [party.busy and party.done for party in other.parties]
        return done and twin.facts() == other.facts()

    def report() -> str:
        parties = [[(party.busy, party.done) for party in stage.parties] for stage in (twin, other)]
        return f"the cores part: {parties}, {[(stage.facts()[0:3], stage.facts()[4]) for stage in (twin, other)]}"

    _wait(alike, report)


def _wait(condition: Callable[[], bool], report: Callable[[], str]) -> None:
    end = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < end, report()
        time.sleep(0.0002)


def run(program: Program, twin_core: ModuleType, core: ModuleType, place: Path) -> None:
    """AssertionError if the core does other than its twin."""
    stages = Stage(twin_core, program, place), Stage(core, program, place)
    twin, other = stages
    try:
        for step in program.steps:
            _both(stages, step)
        for last in (("finish",), *_drained(program.lanes)):
            _both(stages, last)
        assert twin.digests() == other.digests()
    finally:
        for stage in stages:
            stage.views[:] = [None] * len(stage.views)
            stage.close()
    _compare_files(twin, other)


def _drained(lanes: Sequence[Any]) -> list[Step]:
    return [("run", n) for n, kind in enumerate(lanes) if kind != "plain"]


def _both(stages: tuple[Stage, Stage], step: Step) -> None:
    twin, other = stages
    name, *arguments = step
    got = [getattr(stage, name)(*arguments) for stage in stages]
    settle(twin)
    follow(twin, other)
    assert got[0] == got[1], step
    assert twin.results() == other.results(), step


def _compare_files(twin: Stage, other: Stage) -> None:
    """Of lanes that were through; what a stopped one leaves is nobody's business."""
    writers = [(a, b) for a, b, kind in zip(twin.lanes, other.lanes, twin.kinds, strict=True) if isinstance(kind, tuple)]
    for (ours, theirs), mine, its in zip(writers, twin.files, other.files, strict=True):
        if ours.position == theirs.position == twin.ring.produced and not ours.detached:
            assert mine.read_bytes() == its.read_bytes()
