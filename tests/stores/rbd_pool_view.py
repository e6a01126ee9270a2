"""A pool of the cluster under test as librados shows it, and a store on it."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from real_servers import CephCluster, RbdPool
from subject import Subject

from glance_stream.model import Location
from glance_stream.stores.rbd import RbdOptions, RbdStore
from glance_stream.stores.rbd.bindings import load

OF_THE_POOL = {"rbd_directory", "rbd_info", "rbd_trash", "rbd_children"}


class PoolView:
    """As client.admin, through Ceph's own libraries."""

    def __init__(self, cluster: CephCluster, pool: str, ioctx: Any) -> None:
        self.cluster = cluster
        self.pool = pool
        self.ioctx = ioctx
        self.rados, self.rbd = load("test")

    def options(self, **more: Any) -> RbdOptions:
        return RbdOptions(**{"pool": self.pool, "user": self.cluster.user, "ceph_conf": str(self.cluster.conf), **more})

    def store(self, store_id: str = "ceph", *, read_only: bool = False, **options: Any) -> RbdStore:
        return RbdStore(store_id, self.options(**options), read_only=read_only)

    def url(self, image_id: str) -> str:
        return f"rbd://{self.cluster.fsid}/{quote(self.pool, '')}/{image_id}/snap"

    def subject(self, store: RbdStore) -> Subject:
        return Subject(store, self.visible, self.leavings, self.corrupt)

    def names(self) -> dict[str, str]:
        """And their internal ids, as the pool's directory has them."""
        return {each["name"]: each["id"] for each in self.rbd.RBD().list2(self.ioctx)}

    def visible(self) -> set[str]:
        return {name for name in self.names() if not name.startswith(".")}

    def leavings(self) -> list[str]:
        """Every object in the pool that is no part of a visible image."""
        parts = OF_THE_POOL | {f"rbd_id.{name}" for name in self.visible()}
        prefixes = tuple(
            f"rbd_{kind}.{internal}"
            for name, internal in self.names().items()
            if name in self.visible()
            for kind in ("header", "object_map", "data")
        )
        listed = [f"listed: {name}" for name in self.names() if name not in self.visible()]
        listed += [f"in the trash: {each['name']}" for each in self.rbd.RBD().trash_list(self.ioctx)]
        return listed + [key for key in self.objects() if key not in parts and not key.startswith(prefixes or (" ",))]

    def objects(self) -> list[str]:
        return sorted(each.key for each in self.ioctx.list_objects())

    def corrupt(self, location: Location) -> None:
        """Without a snapshot context: the snapshot sees it too."""
        internal = self.names()[location.url.split("/")[4]]
        for key in self.objects():
            if key.startswith(f"rbd_data.{internal}."):
                self.ioctx.write(key, b"corrupt!")

    @contextmanager
    def image(self, name: str, snapshot: str | None = None) -> Iterator[Any]:
        with self.rbd.Image(self.ioctx, name, snapshot=snapshot) as image:
            yield image

    def snapshots(self, name: str) -> dict[str, bool]:
        """And whether each is protected."""
        with self.image(name) as image:
            return {each["name"]: image.is_protected_snap(each["name"]) for each in image.list_snaps()}

    def make(self, name: str, content: bytes, *, snapshot: bool = True) -> None:
        """As somebody else might."""
        self.rbd.RBD().create(self.ioctx, name, len(content), 22, old_format=False)
        with self.image(name) as image:
            image.write(content, 0)
            if snapshot:
                image.create_snap("snap")
                image.protect_snap("snap")

    def ask_directory(self, method: str, *strings: str) -> None:
        self.ioctx.execute("rbd_directory", "rbd", method, b"".join(map(encoded, strings)))

    def trash_as_removal(self, name: str, internal: str) -> None:
        """As a removal does at its beginning."""
        self.rbd.RBD().trash_move(self.ioctx, name, 0)
        self.ioctx.execute("rbd_trash", "rbd", "trash_remove", encoded(internal))
        self.trash_entry(name, internal)

    def trash_entry(self, name: str, internal: str) -> None:
        """cls_rbd's TrashImageSpec, second version, with source REMOVING, which librbd lists nowhere."""
        spec = b"\3" + encoded(name) + struct.pack("<IIII", int(time.time()), 0, 0, 0) + b"\0"
        self.ioctx.execute("rbd_trash", "rbd", "trash_add", encoded(internal) + struct.pack("<BBI", 2, 1, len(spec)) + spec)

    def empty(self) -> None:
        for key in self.objects():
            if key != "rbd_info":
                self.ioctx.remove_object(key)


def encoded(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


@contextmanager
def pool_view(pool: RbdPool | tuple[CephCluster, str]) -> Iterator[PoolView]:
    cluster, name = (pool.cluster, pool.name) if isinstance(pool, RbdPool) else pool
    client = load("test").rados.Rados(conffile=str(cluster.conf))
    client.connect()
    try:
        with client.open_ioctx(name) as ioctx:
            yield PoolView(cluster, name, ioctx)
    finally:
        client.shutdown()


@contextmanager
def own_pool(cluster: CephCluster, name: str) -> Iterator[PoolView]:
    """Of a test module: a pool for each test would take a second each."""
    cluster.make_pool(name)
    try:
        with pool_view((cluster, name)) as view:
            yield view
    finally:
        cluster.delete_pool(name)
