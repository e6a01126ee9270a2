"""CPU that a pass takes beside its digest, its decoding and the kernel's I/O: threads, ring, zero scan, fingerprints, Python.

User seconds of the pass, less user seconds of the digest and of the decoder alone, as a share of all CPU seconds of the pass. All
its system seconds count as the kernel's I/O. Rows are those of the other workloads; nothing is run for this alone.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from compare.job import Job
from compare.ours import into_stores
from compare.parts.decoding import decoding
from compare.parts.digest import digest
from compare.result import Floor, Row, Rows, Target, at_most
from compare.workload import Workload
from compare.workloads.compressed import ground_of, unpacked

MOST = 0.05


NOTE = (
    "User seconds of the pass, less those of digest and decoder alone, as a share of all CPU seconds of the pass. "
    "Its system seconds are the kernel's I/O."
)


def workloads() -> list[Workload]:
    gzip, zstd = (
        [unpacked(format, source, 3), _variant(digest("sha512")), _variant(decoding(format, source, "fs"))]
        for format, source in (("gzip", "fs.gz"), ("zstd", "fs.zst"))
    )
    raw = [into_stores(3), _variant(digest("sha512"))]
    return [
        Workload("cpu", "CPU beside digest and I/O, raw image into 3 stores", raw, beside, notes=[NOTE], shows="cpu"),
        Workload(
            "cpu-gzip", "CPU beside decoding, digest and I/O, gzip into 3 stores", gzip, beside, ground=ground_of, shows="cpu"
        ),
        Workload(
            "cpu-zstd", "CPU beside decoding, digest and I/O, zstd into 3 stores", zstd, beside, ground=ground_of, shows="cpu"
        ),
    ]


def beside(rows: Rows, floor: Floor | None) -> Target | None:
    ours = next((row for row in rows.values() if row.role == "ours"), None)
    parts = [row for row in rows.values() if row.role != "ours"]
    if ours is None or not parts:
        return None
    share = (user(ours) - sum(map(user, parts))) / ours.cpu
    return at_most(f"<= {MOST:.2f} of the pass's CPU", MOST, share)


def user(row: Row) -> float:
    return median(sample.user for sample in row.samples)


def _variant(job: Job) -> Job:
    """A part elsewhere; here it makes no floor."""
    return replace(job, role="variant")
