"""One thing that is measured: a pass, a part of it alone, or another program that does the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from compare.ground import Ground
from compare.result import Kind, Role, Sample
from glance_stream.benchmark.stopwatch import cpu_times


@dataclass(frozen=True)
class Job:
    """``key``: unique in the whole program; a job that several workloads name is run once a round and is a row in each of them.

    title: for the table, at most 50 characters. role, kind: see :class:`compare.result.Row`.

    run: does the work once and returns its :class:`Sample`. It is pickled and called in a new process whose stores and work
    directory are empty and whose ``sources`` are in the page cache, so it must be a function of a module or a functools.partial of
    one; and its module should import at its top only what a run needs. It sets up what is not to be timed, makes a :class:`Watch`,
    works until the bytes are durable, reads the watch, and then checks what it did: the digest, or the sizes. Raises anything if
    that is wrong: fast because it did less is a failure. What it prints is shown if it fails.

    sources: names of what it reads, made before the first round (see sources/).

    unavailable: asked once, in the program, before the first round; may take its time to install what is needed. Returns why
    the job can't run here, as a note for the reader, or None.
    """

    key: str
    title: str
    role: Role
    kind: Kind
    run: Callable[[Ground], Sample]
    sources: tuple[str, ...] = ("random",)
    unavailable: Callable[[], str | None] | None = None


class Watch:
    """Runs from its making; may be read more than once."""

    def __init__(self) -> None:
        self._user, self._system = cpu_times()
        self._started = perf_counter()

    def read(self, **values: float) -> Sample:
        """CPU of children counts only when they have been waited for."""
        seconds = perf_counter() - self._started
        user, system = cpu_times()
        return Sample(seconds, user - self._user, system - self._system, values=values)


def part(key: str, title: str, kind: Kind, run: Callable[[Ground], Sample], *sources: str) -> Job:
    return Job(key, title, "part", kind, run, sources)


def require(found: object, wanted: object, what: str) -> None:
    """Raises ValueError unless both are the same."""
    if found != wanted:
        raise ValueError(f"{what}: {found!r} is not {wanted!r}")
