"""Real OpenStack Glance 33: glance-direct from its staging directory into three file stores.

Timed from the import call to ``active``, then until the files are durable; staging, which a user waits for too, is told apart. CPU
is that of its worker. Each way is run as shipped, and with its ``time.sleep(0)`` calls made as cheap as they were before
CPython 3.11 (tests/servers/glance.sh): only the latter may be claimed against.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from compare.ground import Ground
from compare.job import Job
from compare.peers.glance_server import Server, served, unavailable
from compare.peers.peer import SOURCE, STORES, Copied, Copy, peer


def jobs() -> list[Job]:
    ways = [(parallel, nosleep) for parallel in (1, STORES) for nosleep in (True, False)]
    return [peer(_key(*way), _title(*way), partial(imported, parallel=way[0], nosleep=way[1]), unavailable) for way in ways]


def _key(parallel: int, nosleep: bool) -> str:
    return f"glance-{parallel}{'' if nosleep else '-shipped'}"


def _title(parallel: int, nosleep: bool) -> str:
    how = "one by one" if parallel == 1 else f"{parallel} at once"
    return f"Glance 33, {how}, {'sleep(0) free' if nosleep else 'as shipped'}"


SLOWEST = 1e7  # bytes a second; a job has more time than that, so that it can stop Glance itself


@contextmanager
def imported(ground: Ground, parallel: int, nosleep: bool) -> Iterator[Copy]:
    with served(ground, parallel, nosleep) as server:
        image = server.call("POST", "/v2/images", {"name": "image", "disk_format": "raw", "container_format": "bare"})["id"]
        started = time.perf_counter()
        server.stage(image, ground.source(SOURCE))
        yield partial(_import, server, image, 60 + ground.size / SLOWEST, time.perf_counter() - started)


def _import(server: Server, image: str, patience: float, staging: float) -> Copied:
    before = server.cpu()
    asked = {"method": {"name": "glance-direct"}, "stores": list(server.stores), "all_stores_must_succeed": True}
    server.call("POST", f"/v2/images/{image}/import", asked)
    said = server.until_active(image, patience)
    user, system = (after - first for after, first in zip(server.cpu(), before, strict=True))
    files = [Path(directory) / image for directory in server.stores.values()]
    digests = {"md5": said["checksum"], said["os_hash_algo"]: said["os_hash_value"]}
    return Copied(files, digests, user, system, {"staging_seconds": staging}, server.peak_bytes())
