"""Peak memory of a process that does one pass: interpreter, libraries, ring and all. It must not grow with the image or the stores.

Rows are those of the other workloads where these have them; only what is small is run for this alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from compare.ground import Ground
from compare.job import Job
from compare.ours import into_stores
from compare.result import Floor, Row, Rows, Target, at_most
from compare.workload import Workload, same_ground
from compare.workloads.compressed import ground_of, unpacked
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DEFAULT_SLOTS

RING = DEFAULT_SLOTS * DEFAULT_SLOT_SIZE
MORE = 40  # MiB
SMALL = 64 << 20


def workloads() -> list[Workload]:
    packed = [unpacked("gzip", "fs.gz", 3), unpacked("zstd", "fs.zst", 3)]
    return [
        _memory("memory", "peak memory, raw image", same_ground, [into_stores(3), into_stores(1)]),
        _memory("memory-compressed", "peak memory, compressed image", ground_of, packed),
        _memory("memory-small", "peak memory, image of 64 MiB", small, [into_stores(8), into_stores(1), *packed]),
    ]


def _memory(key: str, title: str, ground: Callable[[Ground], Ground], jobs: Sequence[Job]) -> Workload:
    """The first is called ours; the target looks at all."""
    rows = [jobs[0], *(replace(job, role="variant") for job in jobs[1:])]
    return Workload(key, title, rows, most, ground=ground, remarks=peaks, shows="peak")


def small(ground: Ground) -> Ground:
    return ground.sized(min(ground.size, SMALL))


def most(rows: Rows, floor: Floor | None) -> Target | None:
    if not rows:
        return None
    return at_most(f"<= {MORE} MiB beyond the ring, any row", MORE, (max(map(peak, rows.values())) - RING) / (1 << 20))


def peaks(rows: Rows) -> list[str]:
    text = "; ".join(f"{row.title}: {peak(row) / (1 << 20):.1f}" for row in rows.values())
    return [f"MiB at the peak (VmHWM, the whole process), of them {RING >> 20} the ring: {text}"]


def peak(row: Row) -> int:
    """Of all rounds."""
    return max(sample.peak_bytes for sample in row.samples)
