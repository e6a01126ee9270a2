"""Wall and CPU seconds of a piece of work."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One measurement. ``cpu``: user and system seconds of this process and of the children it has waited for."""

    seconds: float
    cpu: float


class Stopwatch:
    """Runs from its making; may be read more than once."""

    def __init__(self) -> None:
        self._cpu = cpu_seconds()
        self._started = time.perf_counter()

    def read(self) -> Sample:
        seconds = time.perf_counter() - self._started
        return Sample(seconds, cpu_seconds() - self._cpu)


def cpu_seconds() -> float:
    """User and system together."""
    return sum(cpu_times())


def cpu_times() -> tuple[float, float]:
    """User and system seconds so far of this process and its ended children. What the kernel's own threads do is not in them."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime for one in used), sum(one.ru_stime for one in used)
