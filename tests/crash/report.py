"""What a harness has seen: points, where they hit, what came of them, and what was broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


class Report:
    """``about``: seed, database, stores, signal. Counters by operation; reports of several harnesses can be added up."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self.points: Counter[str] = Counter()
        self.missed = 0  # commands that had ended before they were struck
        self.outcomes: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.layers: Counter[str] = Counter()
        self.exits: Counter[str] = Counter()
        self.checks = 0
        self.violations: list[dict[str, Any]] = []

    COUNTERS = ("points", "outcomes", "phases", "layers", "exits")

    @property
    def total(self) -> int:
        return self.points.total()

    def as_dict(self) -> dict[str, Any]:
        counters = {name: dict(getattr(self, name).most_common()) for name in self.COUNTERS}
        return {
            **self.about,
            "total": self.total,
            "missed": self.missed,
            "checks": self.checks,
            **counters,
            "violations": self.violations,
        }

    def add(self, other: Mapping[str, Any]) -> None:
        for name in self.COUNTERS:
            getattr(self, name).update(other[name])
        self.missed += other["missed"]
        self.checks += other["checks"]
        self.violations += other["violations"]

    def lines(self) -> list[str]:
        """For people."""
        told = [" ".join(f"{name} {value}" for name, value in self.about.items())]
        told.append(f"{self.total} points, {self.checks} looks from outside, {len(self.violations)} violations")
        told.append(f"{self.missed} more had ended before they were struck")
        for name in self.COUNTERS:
            told.append(f"{name}:")
            told += [f"  {count:6d}  {what}" for what, count in getattr(self, name).most_common()]
        for each in self.violations:
            told.append(f"VIOLATION at point {each['point']} (seed {each['seed']}): {each['operation']}, {each['harm']}")
            told += [f"    {line}" for line in each["broken"]]
        return told
