"""What is kept of a run. It is written as JSON, and everything shown is made from it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

Role = Literal["ours", "part", "peer", "variant"]
Kind = Literal["", "source", "decode", "digest", "store"]
Shown = Literal["seconds", "cpu", "peak"]


class Sample(msgspec.Struct, frozen=True):
    """One timing. ``seconds``: wall. ``user``, ``system``: CPU seconds of the process and its ended children meanwhile.

    ``peak_bytes``: of the whole process, libraries included. ``values``: further figures of that run, such as images_per_second.
    """

    seconds: float
    user: float
    system: float
    peak_bytes: int = 0
    values: dict[str, float] = {}

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Row(msgspec.Struct, frozen=True):
    """One thing in one workload, a sample for each round. ``kind``: which part of the pass it is, empty if it is none.

    role: "ours" is what the target is about; a "variant" is ours in another way; a "part" counts for the floor.
    """

    key: str
    title: str
    role: Role
    kind: Kind
    samples: list[Sample]

    @property
    def seconds(self) -> float:
        """The median."""
        return median(sample.seconds for sample in self.samples)

    @property
    def cpu(self) -> float:
        """The median, which need not be of the same round as that of the seconds."""
        return median(sample.cpu for sample in self.samples)

    def value(self, name: str) -> float:
        """The median of a further figure. KeyError if the row has none of that name."""
        return median(sample.values[name] for sample in self.samples)


class Floor(msgspec.Struct, frozen=True):
    """The least seconds. ``bounds``: by kind of part, and "cpu"; only what the workload has. ``limit``: the largest of them."""

    seconds: float
    limit: str
    bounds: dict[str, float]


class Target(msgspec.Struct, frozen=True):
    """What is to be reached: at least or at most so much, one of them None."""

    text: str
    measured: float
    reached: bool
    at_least: float | None = None
    at_most: float | None = None


class WorkloadResult(msgspec.Struct, frozen=True):
    """``size``: the bytes that MB/s are counted in. ``rows`` are in the workload's order, without those that failed.

    failed: what the jobs said that failed. notes: also what could not be run here. shows: what its plot is of.
    """

    key: str
    title: str
    size: int
    rows: list[Row]
    floor: Floor | None = None
    target: Target | None = None
    notes: list[str] = []
    failed: list[str] = []
    shows: Shown = "seconds"

    @property
    def ours(self) -> Row | None:
        return next((row for row in self.rows if row.role == "ours"), None)


class Result(msgspec.Struct, frozen=True):
    """``machine``: facts by name. ``notes``: what a reader of any figure must know. ``started``: UTC, ISO 8601.

    interrupted: rounds are missing, or whole workloads.
    """

    machine: dict[str, str | int | bool]
    notes: list[str]
    size: int
    rounds: int
    started: str
    workloads: list[WorkloadResult]
    interrupted: bool = False


def at_least(text: str, wanted: float, measured: float) -> Target:
    return Target(text, measured, measured >= wanted, at_least=wanted)


def at_most(text: str, wanted: float, measured: float) -> Target:
    return Target(text, measured, measured <= wanted, at_most=wanted)


Rows = dict[str, Row]
# Given the rows by key and the floor; None where what it needs was not measured.
TargetRule = Callable[[Rows, Floor | None], Target | None]


def write(result: Result, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read(path: Path) -> Result:
    """Raises OSError, msgspec.ValidationError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Result)
