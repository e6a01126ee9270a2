"""Random bytes, no 4 KiB of which are twice there: no store's compression or deduplication makes them less."""

from __future__ import annotations

from pathlib import Path

from compare.ground import Ground
from glance_stream.benchmark import workload


def make(ground: Ground, path: Path) -> None:
    workload.make(path, ground.size)
