"""What the engine costs by itself, beside reading the file: the share of the machine that is left to digests and stores."""

from __future__ import annotations

from compare.engine import engine
from compare.floor import of_row
from compare.parts.reading import reading
from compare.result import Rows
from compare.workload import Workload

LANES = (1, 2, 4, 8)


def workloads() -> list[Workload]:
    read = reading()
    jobs = [engine(), *(engine(lanes, "variant") for lanes in LANES), read]
    target = of_row(0.90, read.key, "the rate of reading the file")
    return [Workload("engine", "the engine alone, from the page cache, fingerprints only", jobs, target, remarks=lane_cost)]


def lane_cost(rows: Rows) -> list[str]:
    """From the most lanes that were measured."""
    none, most = rows.get("engine-0"), rows.get(f"engine-{LANES[-1]}")
    if none is None or most is None:
        return []
    seconds, cpu = ((later - first) / LANES[-1] * 1000 for first, later in ((none.seconds, most.seconds), (none.cpu, most.cpu)))
    return [f"an extra lane costs {seconds:.2f} ms and {cpu:.2f} ms of CPU, by {LANES[-1]} lanes beside none"]
