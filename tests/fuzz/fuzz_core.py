"""Random programs and races for the compiled core: fuzz_core.py SECONDS [SEED]. A failure is shown at its smallest, with its seed.

Run by tests/sanitize/run.sh for a core that a sanitizer watches.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from core_strategies import programs, races
from hypothesis import HealthCheck, given, seed, settings
from test_fuzz_core import check_program, check_race

BATCH = 40  # so few that the end of the time is kept to


def main(seconds: float, number: int) -> None:
    if "GLANCE_STREAM_SANITIZED" in os.environ:
        importlib.import_module("sanitized_core").require()
    end = time.monotonic() + seconds
    first = number
    while time.monotonic() < end:
        print(f"seed {number}", end="\r", flush=True)
        for strategy, check in ((programs(), check_program), (races(), check_race)):
            _batch(strategy, check, number)
        number += 1
    print(f"{(number - first) * BATCH} programs and as many races, seeds {first} to {number - 1}: no failure")


def _batch(strategy: Any, check: Callable[[Any], None], number: int) -> None:
    some = settings(max_examples=BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
    seed(number)(some(given(strategy)(lambda given: check(given))))()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 30))
