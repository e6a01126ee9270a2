"""What the figures were taken on: without it they say nothing."""

from __future__ import annotations

import os
import platform
import re
import ssl
from pathlib import Path
from typing import Any

from glance_stream.chunker import COMPILED


def facts() -> dict[str, Any]:
    """``cores``: those this process may run on. A quota of CPU time (cgroup) is not seen."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "compiled": COMPILED,
    }


def cpu_model() -> str:
    """ARM kernels tell none: the architecture then."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def filesystem(path: Path) -> str:
    """By the longest mount point above the path, and not by device number: those of btrfs subvolumes are in no list."""
    real = Path(os.path.realpath(path))
    best, found = -1, "unknown"
    for line in _read("/proc/self/mountinfo").splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(_unescaped(mount.split()[4]))
        if real.is_relative_to(point) and len(point.parts) >= best:  # the last of equals lies on top
            best, found = len(point.parts), source.split()[0]
    return found


def memory_notes(size: int) -> list[str]:
    """A source that does not stay in the page cache is read from the disk, which then is what gets measured."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    if found is None or size <= int(found[1]) * 1024 // 2:
        return []
    return ["the source is larger than half of the free memory and may have been read from the disk: give a smaller --size"]


def _unescaped(text: str) -> str:
    """Blanks and the like stand in mountinfo as backslash and three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), text)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
