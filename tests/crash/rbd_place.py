"""An RBD pool as Ceph's own libraries see it."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from crash.places import Place
from glance_stream.stores.rbd.bindings import load

OF_THE_POOL = {"rbd_directory", "rbd_info", "rbd_trash", "rbd_children"}
KINDS = ("header", "object_map", "data")


class RbdPlace(Place):
    """A pool of its own. What belongs to no image: others in its directory, in the trash, and objects of none."""

    type = "rbd"

    def __init__(self, store_id: str, cluster: Any) -> None:
        self.store_id = store_id
        self._cluster = cluster
        self._pool = f"crash-{secrets.token_hex(6)}"
        cluster.make_pool(self._pool)
        rados, self._rbd = load("test")
        self._client = rados.Rados(conffile=str(cluster.conf))
        self._client.connect()
        self._ioctx = self._client.open_ioctx(self._pool)
        self.options = {"pool": self._pool, "user": cluster.user, "ceph_conf": str(cluster.conf)}

    def _ids(self) -> dict[str, str]:
        """Names and internal ids."""
        return {each["name"]: each["id"] for each in self._rbd.RBD().list2(self._ioctx)}

    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        ids, sizes = self._ids(), {}
        for name in ids:
            with suppress(self._rbd.ImageNotFound), self._rbd.Image(self._ioctx, name, snapshot="snap", read_only=True) as image:
                if image.is_protected_snap("snap"):
                    sizes[name] = image.size()
        known = OF_THE_POOL | {f"rbd_id.{name}" for name in images}
        prefixes = tuple(f"rbd_{kind}.{ids[name]}" for name in images if name in ids for kind in KINDS) or (" ",)
        strange = [f"in the directory: {name}" for name in ids if name not in images]
        strange += [f"in the trash: {each['name']}" for each in self._rbd.RBD().trash_list(self._ioctx)]
        keys = sorted(each.key for each in self._ioctx.list_objects())
        return sizes, strange + [key for key in keys if key not in known and not key.startswith(prefixes)]

    def read(self, image_id: str) -> bytes:
        with self._rbd.Image(self._ioctx, image_id, snapshot="snap", read_only=True) as image:
            return bytes(image.read(0, image.size()))

    def evict(self) -> None:
        """A dead client's watches would keep its images for half a minute."""
        for name in self._ids():
            with suppress(self._rbd.ImageNotFound), self._rbd.Image(self._ioctx, name, read_only=True) as image:
                for watcher in image.watchers_list():
                    self._cluster.ceph("osd", "blocklist", "add", watcher["addr"])

    def close(self) -> None:
        self._ioctx.close()
        self._client.shutdown()
        self._cluster.delete_pool(self._pool)
