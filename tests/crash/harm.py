"""Choosing where a victim is struck: at a named step, or after a random time."""

from __future__ import annotations

import random
import signal
from collections import defaultdict
from typing import Any

from crash.victims import Run

NUMBERS = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}


class Harms:
    """Learns which steps a kind of command has, and how long it takes, from the runs that it is shown.

    The layers take their turns (catalogue, statements, each store, system calls, network), or the many sends would drown the rest.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._steps: dict[str, dict[str, int]] = defaultdict(dict)
        self._seconds: dict[str, float] = {}

    def learn(self, kind: str, run: Run) -> None:
        known = self._steps[kind]
        for label, count in run.counts.items():
            known[label] = max(known.get(label, 0), count)
        if not run.sent:
            self._seconds[kind] = max(self._seconds.get(kind, 0.0), run.seconds)

    def knows(self, kind: str) -> bool:
        return kind in self._seconds

    def choose(self, kind: str, name: str, *, twice: bool = False) -> dict[str, Any]:
        """For the request to a launcher."""
        number = int(NUMBERS[name])
        if self._rng.random() < 0.3:
            again = self._rng.uniform(0.0005, 0.03) if twice else 0
            return {"number": number, "delay": self._rng.uniform(0.0, self._seconds[kind]), "again": again}
        steps = self._steps[kind]
        layer = self._rng.choice(sorted({label.split()[0] for label in steps}))
        label = self._rng.choice(sorted(label for label in steps if label.split()[0] == layer))
        again = self._rng.randint(1, 20) if twice else 0
        nth = self._rng.randint(1, self._rng.randint(1, steps[label]))  # most commands have fewer of them than the longest had
        return {"number": number, "label": label, "nth": nth, "again": again}
