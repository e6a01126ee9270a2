"""Whether the machine was quiet meanwhile: a figure taken beside other work is a figure of both."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from glance_stream.benchmark.stopwatch import cpu_seconds

# Cores. Writing back what the pipelines leave in the page cache is the kernel's work and stays below this.
LOUD = 0.3
STOLEN = 0.05


@dataclass(frozen=True)
class Ticks:
    """CPU seconds of the whole machine since it started."""

    busy: float
    stolen: float


class Noise:
    """Watches from its making on."""

    def __init__(self) -> None:
        self._ticks = ticks()
        self._own = cpu_seconds()
        self._started = time.monotonic()

    def notes(self) -> list[str]:
        """What a reader of the figures must know; nothing on a quiet machine, or where the kernel does not tell."""
        now = ticks()
        if now is None or self._ticks is None:
            return []
        seconds = time.monotonic() - self._started
        others = now.busy - self._ticks.busy - (cpu_seconds() - self._own)
        return remarks(others / seconds, (now.stolen - self._ticks.stolen) / seconds)


def remarks(others: float, stolen: float) -> list[str]:
    """In cores, on average over the run."""
    found = []
    if others > LOUD:
        found.append(f"not quiet: other processes and the kernel used {others:.1f} cores meanwhile")
    if stolen > STOLEN:
        found.append(f"not quiet: the hypervisor gave {stolen:.2f} cores to others meanwhile")
    return found


def ticks() -> Ticks | None:
    """From the first line of /proc/stat; None where there is none."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = (int(field) / per_second for field in first[1:9])
    return Ticks(user + nice + system + interrupts + soft, stolen)
