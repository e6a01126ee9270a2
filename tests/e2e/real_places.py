"""Every kind of store at once, on real servers: how each is configured, and what its system's own client finds in it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from real_servers import RbdPool, S3Bucket, SwiftContainer


@dataclass(frozen=True)
class Place:
    """One store. ``objects``: all that is there, finished or not. ``read``: an image's bytes. Neither asks the code under test."""

    store_id: str
    type: str
    options: Mapping[str, Any]
    objects: Callable[[], list[str]]
    read: Callable[[str], bytes] = field(repr=False)

    def section(self, **other: Any) -> str:
        """As it stands in the configuration; ``other`` options replace its own."""
        lines = [f"{name} = {_toml(value)}" for name, value in {**self.options, **other}.items()]
        return "\n".join([f"[stores.{self.store_id}]", f'type = "{self.type}"', *lines, ""])

    def sha512(self, image_id: str) -> str:
        return hashlib.sha512(self.read(image_id)).hexdigest()


def file_place(path: Path) -> Place:
    return Place(
        "file",
        "file",
        {"path": str(path)},
        objects=lambda: sorted(each.name for each in path.iterdir()) if path.exists() else [],
        read=lambda image_id: (path / image_id).read_bytes(),
    )


def s3_place(store_id: str, bucket: S3Bucket) -> Place:
    server = bucket.server
    return Place(
        store_id,
        "s3",
        {
            "endpoint": server.endpoint,
            "region": server.region,
            "bucket": bucket.name,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "addressing_style": "path",
        },
        objects=lambda: [*bucket.objects(), *(f"upload of {key}" for key, _ in bucket.uploads())],
        read=bucket.read,
    )


def swift_place(store_id: str, container: SwiftContainer) -> Place:
    """In segments of 8 MiB, so that the tests' images have several. An image's segments are told by its id only."""
    server = container.server
    options = {
        "auth_url": server.auth_url,
        "auth_version": server.auth_version,
        "user": server.user,
        "key": server.key,
        "container": container.name,
        "segment_size": 8 << 20,
        "project": server.project,
        "user_domain": server.user_domain,
        "project_domain": server.project_domain,
        "region": server.region,
    }
    return Place(
        store_id,
        "swift",
        {name: value for name, value in options.items() if value is not None},
        objects=lambda: sorted(container.objects()),
        read=container.read,
    )


def rbd_place(pool: RbdPool) -> Place:
    def export(image_id: str) -> bytes:
        snapshot = f"{pool.name}/{image_id}@snap"
        command = ["rbd", "-c", str(pool.cluster.conf), "export", "--no-progress", snapshot, "-"]
        return subprocess.run(command, stdout=subprocess.PIPE, timeout=100, check=True).stdout

    def objects() -> list[str]:
        bookkeeping = ("rbd_directory", "rbd_info", "rbd_trash", "rbd_children", "rbd_object_map", "rbd_id")
        inside = [each for each in pool.cluster.rados("-p", pool.name, "ls").split() if not each.startswith(bookkeeping)]
        return [*pool.images(), *([] if pool.images() else inside)]

    return Place(
        "rbd",
        "rbd",
        {"pool": pool.name, "ceph_conf": str(pool.cluster.conf)},
        objects=objects,
        read=export,
    )


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'
