"""A real Ceph cluster as tests see it: what they ask here, its own programs answer, as client.admin."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_daemons import ServerHandle


@dataclass(frozen=True)
class CephCluster:
    conf: Path
    fsid: str
    mon_host: str
    pool: str
    user: str
    key: str
    keyring: Path
    reader_keyring: Path
    objectstore: str
    daemons: Mapping[str, ServerHandle]

    def ceph(self, *arguments: str) -> str:
        return self._run("ceph", "--connect-timeout", "20", *arguments)

    def rbd(self, *arguments: str) -> str:
        return self._run("rbd", *arguments)

    def rados(self, *arguments: str) -> str:
        return self._run("rados", *arguments)

    def _run(self, program: str, *arguments: str, seconds: float = 60) -> str:
        done = subprocess.run(
            [program, "-c", self.conf, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def images(self, pool: str) -> list[str]:
        return list(json.loads(self.rbd("ls", "--format", "json", pool)))

    def snapshots(self, pool: str, image: str) -> list[dict[str, Any]]:
        """Of each: name, size, protected ("true" or "false")."""
        return list(json.loads(self.rbd("snap", "ls", "--format", "json", f"{pool}/{image}")))

    def info(self, pool: str, image: str) -> dict[str, Any]:
        return dict(json.loads(self.rbd("info", "--format", "json", f"{pool}/{image}")))

    def read(self, pool: str, image: str) -> bytes:
        done = subprocess.run(
            ["rbd", "-c", self.conf, "export", "--no-progress", f"{pool}/{image}", "-"],
            stdout=subprocess.PIPE,
            timeout=100,
            check=True,
        )
        return done.stdout

    def used(self, pool: str, image: str) -> int:
        """Bytes of the image's extents that exist."""
        return sum(each["length"] for each in json.loads(self.rbd("diff", "--format", "json", f"{pool}/{image}")))

    def make_pool(self, name: str) -> None:
        self.ceph("osd", "pool", "create", name, "8")
        self.rbd("pool", "init", name)

    def delete_pool(self, name: str) -> None:
        self.ceph("osd", "pool", "delete", name, name, "--yes-i-really-really-mean-it")

    def set_quota(self, pool: str, max_bytes: int) -> None:
        """Some seconds after a pool got over its quota, writes to it wait: for ever, or until the client's rados_osd_op_timeout.

        0 takes the quota back. The cluster's manager counts, and only for this: it is started here, which takes a few seconds.
        """
        if max_bytes and not self.daemons["mgr"].alive():
            self.daemons["mgr"].restart()
        self.ceph("osd", "pool", "set-quota", pool, "max_bytes", str(max_bytes))

    def wait_full(self, pool: str, full: bool = True, seconds: float = 30) -> None:
        """Until the pool is (not) marked full."""
        deadline = time.monotonic() + seconds
        while True:
            pools = json.loads(self.ceph("osd", "dump", "--format", "json"))["pools"]
            flags = next(each["flags_names"] for each in pools if each["pool_name"] == pool)
            if ("full_quota" in flags.split(",")) == full:
                return
            assert time.monotonic() < deadline, f"pool {pool} is still{' not' if full else ''} full: {flags}"
            time.sleep(0.2)


@dataclass(frozen=True)
class RbdPool:
    """A test's own pool."""

    cluster: CephCluster
    name: str

    def images(self) -> list[str]:
        return self.cluster.images(self.name)

    def snapshots(self, image: str) -> list[dict[str, Any]]:
        return self.cluster.snapshots(self.name, image)

    def read(self, image: str) -> bytes:
        return self.cluster.read(self.name, image)
