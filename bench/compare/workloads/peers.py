"""Our pass beside other programs that copy the same bytes into three directories (compare/peers)."""

from __future__ import annotations

from dataclasses import replace

from compare.cached import SUFFIX
from compare.ground import Ground
from compare.job import Job
from compare.ours import into_stores
from compare.result import Floor, Rows, Target, at_least
from compare.workload import Workload

LARGEST = 512 << 20  # the slowest of them takes a quarter of a minute for twice of it
LARGEST_FOR_GLANCE = 512 << 20
GLANCE_ROUNDS = 3

FSYNC = (
    "fsync: until the files are as durable as ours. cached: as the program leaves them, in the page cache, where a power cut loses "
    "them; ours are durable always, so only the rows with fsync may be compared with it."
)
HASHES = (
    "cp computes no digest, and copies nothing where the file system can share blocks. rclone computes md5 of the source and of "
    "what it writes, and compares one of three; its check of a union reads the first directory only, so each is checked by itself "
    "here. glance_store computes md5 and sha512 for each store."
)
GLANCE = (
    "From the import call to active; staging, which a user waits for too, is told apart. CPU is the worker's. As shipped it calls "
    "time.sleep(0) twice for each 64 KiB: on CPython 3.11 to 3.13 a real sleep of 0.1 ms. Compare with the rows where it is free."
)


def workloads() -> list[Workload]:
    return [
        Workload(
            "peers",
            "raw image into 3 directories, by others",
            _ours(),
            ahead,
            ground=_peers_ground,
            notes=[FSYNC, HASHES],
            peers=True,
        ),
        Workload(
            "glance",
            "raw image into 3 file stores, by real Glance",
            _ours(),
            ahead,
            ground=_glance_ground,
            notes=[FSYNC, GLANCE],
            peers=True,
            rounds=GLANCE_ROUNDS,
        ),
    ]


def _ours() -> list[Job]:
    """With md5 too, since some of the others compute it."""
    return [into_stores(3), replace(into_stores(3, md5=True), role="variant")]


def ahead(rows: Rows, floor: Floor | None) -> Target | None:
    """Against what leaves its files durable, and of Glance against the honest way."""
    ours = next((row for row in rows.values() if row.role == "ours"), None)
    peers = [row for row in rows.values() if row.role == "peer" and not row.key.endswith((SUFFIX, "-shipped"))]
    if ours is None or not peers:
        return None
    best = min(peers, key=lambda row: row.seconds)
    return at_least(f"faster than {best.title}, the fastest of the others", 1.0, best.seconds / ours.seconds)


def _peers_ground(ground: Ground) -> Ground:
    return ground.sized(min(ground.size, LARGEST))


def _glance_ground(ground: Ground) -> Ground:
    return ground.sized(min(ground.size, LARGEST_FOR_GLANCE))
