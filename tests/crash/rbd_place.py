"""An RBD pool of a harness's own, seen through ``rbd_eye``."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Collection
from typing import Any

from crash.places import Place

OF_THE_POOL = {"rbd_directory", "rbd_info", "rbd_trash", "rbd_children"}
KINDS = ("header", "object_map", "data")
TRIES = 3


class RbdPlace(Place):
    """What belongs to no image: others in the pool's directory, in its trash, and objects of none."""

    type = "rbd"

    def __init__(self, store_id: str, cluster: Any) -> None:
        self.store_id = store_id
        self._cluster = cluster
        self._pool = f"crash-{secrets.token_hex(6)}"
        cluster.make_pool(self._pool)
        self.options = {"pool": self._pool, "user": cluster.user, "ceph_conf": str(cluster.conf)}

    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        found = json.loads(self._ask())
        ids = found["ids"]
        known = OF_THE_POOL | {f"rbd_id.{name}" for name in images}
        prefixes = tuple(f"rbd_{kind}.{ids[name]}" for name in images if name in ids for kind in KINDS) or (" ",)
        strange = [f"in the directory: {name}" for name in ids if name not in images]
        strange += [f"in the trash: {name}" for name in found["trash"]]
        return found["sizes"], strange + [key for key in found["keys"] if key not in known and not key.startswith(prefixes)]

    def read(self, image_id: str) -> bytes:
        return self._ask(image_id)

    def evict(self) -> None:
        """A dead client's watches would keep its images for half a minute."""
        for address in json.loads(self._ask())["watchers"]:
            self._cluster.ceph("osd", "blocklist", "add", address)

    def _ask(self, *image: str) -> bytes:
        command = [sys.executable, "-m", "crash.rbd_eye", str(self._cluster.conf), self._pool, *image]
        for _ in range(TRIES):
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
            if done.returncode == 0:
                return done.stdout
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}")

    def close(self) -> None:
        self._cluster.delete_pool(self._pool)
