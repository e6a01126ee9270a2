"""The core with nothing in step: a producer, lanes and those who disturb them all at once. Who stays sees the stream, exactly.

What comes of it depends on luck, so there is no twin to compare with; a sanitizer sees more of this than the checks do.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

HANG_SECONDS = 30.0
PAGE = 4096
NOISE = random.Random(21).randbytes(16 * PAGE) + bytes(16 * PAGE) + random.Random(22).randbytes(8 * PAGE)


@dataclass(frozen=True)
class Race:
    """``lanes`` as in core_program. ``disturbances``: after so many bytes 'detach' this lane, 'fail', or 'look' at everything."""

    slots: int
    pages: int
    size: int
    prefix: int | None  # None: the stream is put by Python
    lanes: tuple[Any, ...]
    disturbances: tuple[tuple[int, str, int], ...]


def run(race: Race, core: ModuleType, place: Path) -> None:
    ring = core.Ring(race.slots, race.pages * PAGE)
    stream = NOISE[: race.size]
    runners = [_runner(core, ring, kind, place / str(n)) for n, kind in enumerate(race.lanes)]
    calls = [Call(runner.run) for runner in runners]
    producing = Call(lambda: _produce(ring, stream, race.prefix, place / "source"))
    disturbing = Call(lambda: _disturb(race, ring, runners, producing))
    for call in (producing, disturbing, *calls):
        call.join()
    for call in (producing, *calls):
        assert call.error is None or isinstance(call.error, core.LaneStopped), repr(call.error)
    assert disturbing.error is None, repr(disturbing.error)
    failing = any(what == "fail" for _, what, _ in race.disturbances)
    leaving = {n for _, what, n in race.disturbances if what == "detach"}
    for n, (runner, call) in enumerate(zip(runners, calls, strict=True)):
        if call.error is None:
            assert runner.seen() == runner.expected(stream)
        else:
            assert failing or n in leaving
        runner.close()


class Call:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.error: Exception | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(HANG_SECONDS)
        assert self.ended, "hangs"

    def _run(self) -> None:
        try:
            self._function()
        except Exception as error:
            self.error = error


class Plain:
    def __init__(self, core: ModuleType, ring: Any) -> None:
        self.lane = ring.lane()
        self._parts: list[bytes] = []

    def run(self) -> None:
        for slot in self.lane:
            self._parts.append(bytes(slot.view))

    def seen(self) -> Any:
        return b"".join(self._parts)

    def expected(self, stream: bytes) -> Any:
        return stream

    def close(self) -> None:
        pass


class Digest(Plain):
    def __init__(self, core: ModuleType, ring: Any, algorithm: str) -> None:
        self.lane = core.DigestLane(ring, algorithm)

    def run(self) -> None:
        self.lane.run()

    def seen(self) -> Any:
        return self.lane.hexdigest()

    def expected(self, stream: bytes) -> Any:
        return hashlib.new(self.lane.algorithm, stream).hexdigest()


class Write(Plain):
    def __init__(self, core: ModuleType, ring: Any, path: Path, thin: bool, direct: bool) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.lane = core.WriteLane(ring, self._fd, thin=thin, direct=direct)

    def run(self) -> None:
        self.lane.run()

    def seen(self) -> Any:
        return self._path.read_bytes()

    def close(self) -> None:
        os.close(self._fd)


def _runner(core: ModuleType, ring: Any, kind: Any, path: Path) -> Plain:
    if kind == "plain":
        return Plain(core, ring)
    return Digest(core, ring, kind) if isinstance(kind, str) else Write(core, ring, path, *kind[1:])


def _produce(ring: Any, stream: bytes, prefix: int | None, source: Path) -> None:
    if prefix is None:
        for at in range(0, len(stream), ring.slot_size):
            part = stream[at : at + ring.slot_size]
            ring.reserve()[: len(part)] = part
            ring.publish(len(part))
    else:
        source.write_bytes(stream[prefix:])
        with source.open("rb", buffering=0) as file:
            ring.fill_fd(file.fileno(), stream[:prefix])
    ring.finish()


def _disturb(race: Race, ring: Any, runners: list[Plain], producing: Call) -> None:
    for after, what, n in sorted(race.disturbances):
        while ring.produced < after and not producing.ended:
            time.sleep(0)
        if what == "fail":
            ring.fail()
        elif what == "detach":
            runners[n].lane.detach()
        else:
            _look(ring, runners)


def _look(ring: Any, runners: list[Plain]) -> None:
    with suppress(ValueError):  # too late
        ring.lane().detach()
    marks = ring.fingerprints()
    assert len(marks) <= 16 * -(-ring.produced // ring.slot_size)
    assert all(0 <= runner.lane.position <= ring.produced for runner in runners)
    assert {ring.failed, ring.finished, *(runner.lane.detached for runner in runners)} <= {True, False}
