"""Images in a Ceph pool, laid out as glance_store's rbd driver does: an RBD image named by the image's id, its snapshot protected.

Unlike that driver, which writes under the final name, an image here gets its name when it is complete (``writer.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakValueDictionary

from glance_stream import threads
from glance_stream.errors import NotFound, StoreError, StoreReadOnly
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer, require_safe_name
from glance_stream.stores.rbd.cluster import Cluster
from glance_stream.stores.rbd.delete import delete_image
from glance_stream.stores.rbd.errors import mapped
from glance_stream.stores.rbd.images import Images
from glance_stream.stores.rbd.names import Place, image_id_of, location_url, place_of, temporary_of, trace_url
from glance_stream.stores.rbd.options import RbdOptions
from glance_stream.stores.rbd.reader import RbdSource
from glance_stream.stores.rbd.writer import RbdWriter

__all__ = ["RbdOptions", "RbdStore"]

# How long `discard` waits for the watch of a writer that died: it runs out after 30 s, and an undo has 30 s by default.
PATIENCE = 25.0


class RbdStore(Store):
    """A pool of a Ceph cluster.

    An image without its snapshot, as of a foreign import that runs or a deletion that was cut short, is found and can be deleted;
    only its bytes can't be read.
    """

    type = "rbd"

    def __init__(self, store_id: str, options: RbdOptions, *, read_only: bool = False) -> None:
        self.store_id = store_id
        self.traits = Traits(read_only=read_only, thin=True, marked=True)
        self._options = options
        self._cluster = Cluster(store_id, options)
        self._writers: WeakValueDictionary[str, RbdWriter] = WeakValueDictionary()

    @classmethod
    def from_options(cls, store_id: str, options: RbdOptions, *, read_only: bool = False) -> RbdStore:
        return cls(store_id, options, read_only=read_only)

    @property
    def where(self) -> str:
        cluster = self._options.fsid or self._options.ceph_conf
        return f"pool {self._options.pool} of {f'cluster {cluster}' if cluster else 'the default cluster'}"

    async def open(self) -> None:
        await threads.call(self._open)

    def _open(self) -> None:
        with self._cluster.pool():
            pass

    async def free_space(self) -> int | None:
        return await threads.call(self._cluster.free_space)

    def writer(self, image_id: str) -> Writer:
        self._require_writable()
        require_safe_name(image_id)
        writer = RbdWriter(self.store_id, self._cluster, self._options, image_id)
        self._writers[writer.trace] = writer
        return writer

    def open_reader(self, location: Location) -> Source:
        """The cluster is compared when the source is opened: it may have to be asked."""
        return RbdSource(self.store_id, self._cluster, self._place_here(location), location.url)

    async def stat(self, location: Location) -> ObjectStat:
        return await threads.call(self._stat, location)

    def _stat(self, location: Location) -> ObjectStat:
        place = self._place_of(location)
        with self._images(f"image {place.image}") as images, images.opened(place.image) as image:
            with suppress(self._cluster.bindings().rbd.ImageNotFound):
                image.set_snap(place.snapshot)
            return ObjectStat(size=image.size())

    async def delete(self, location: Location) -> None:
        self._require_writable()
        await threads.call(self._delete, location)

    def _delete(self, location: Location) -> None:
        place = self._place_of(location)
        with self._images(f"image {place.image} can't be removed") as images:
            delete_image(self.store_id, self._cluster.bindings().rbd, images, place)

    async def discard(self, trace: str) -> None:
        """Waits up to `PATIENCE` seconds for a writer that died to be forgotten by the cluster; then ObjectBusy."""
        temporary = self._temporary_of(trace)
        if (writer := self._writers.get(trace)) is not None:
            await writer.abort()
        await threads.call(self._discard, temporary)

    def _discard(self, temporary: str) -> None:
        image_id = image_id_of(temporary)
        assert image_id is not None, "it was parsed"
        with self._images(f"image {temporary} can't be removed") as images:
            images.discard(temporary, image_id, PATIENCE)

    async def published(self, trace: str) -> Location | None:
        """By the mark that a writer leaves in its image, which tells it from any other, a copy included.

        Where another process may be about to rename, this waits up to `PATIENCE` seconds for its end; then ObjectBusy.
        """
        temporary = self._temporary_of(trace)
        if (writer := self._writers.get(trace)) is not None:
            return await writer.published()
        return await threads.call(self._published, temporary)

    def _published(self, temporary: str) -> Location | None:
        image_id = image_id_of(temporary)
        assert image_id is not None, "it was parsed"
        with self._images(f"image {image_id}") as images:
            made = images.is_published(temporary, image_id, PATIENCE)
        return Location(location_url(self._cluster.fsid, self._options.pool, image_id), self.store_id) if made else None

    async def strays(self) -> list[Stray]:
        """By the lists of images and of trash. In none of them: the one tiny object of a creation that died at its first step."""
        return await threads.call(self._strays)

    def _strays(self) -> list[Stray]:
        now = time.time()
        found = []
        with self._images(f"pool {self._options.pool} can't be listed") as images:
            changed = {name: images.changed_at(name) for name in images.names() if image_id_of(name)}
            changed |= {name: when for name, when in images.trashed().items() if image_id_of(name)}
        for name, when in changed.items():
            if when is not None:
                found.append(Stray(trace_url(self._options.pool, name), image_id_of(name) or "", max(0.0, now - when)))
        return found

    async def find(self, image_id: str) -> Location | None:
        require_safe_name(image_id)
        return await threads.call(self._find, image_id)

    def _find(self, image_id: str) -> Location | None:
        try:
            with self._images(f"image {image_id}") as images, images.opened(image_id):
                pass
        except NotFound:
            return None
        return Location(location_url(self._cluster.fsid, self._options.pool, image_id), self.store_id)

    def owns(self, url: str) -> bool:
        """Pools of a name are in many clusters, so the fsid has to be known.

        Where neither the option ``fsid`` nor ``ceph_conf`` tells it, the cluster is asked, once: that may hold up the first call,
        for 10 s at most. Of a cluster that does not answer nothing is owned.
        """
        place = place_of(url, self._options.pool)
        try:
            return place is not None and place.fsid == self._cluster.fsid_soon()
        except StoreError:
            return False

    async def close(self) -> None:
        await threads.call(self._cluster.close)

    def _require_writable(self) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")

    def _place_here(self, location: Location) -> Place:
        """In the store's pool, of whatever cluster."""
        place = place_of(location.url, self._options.pool)
        if place is None:
            raise StoreError(self.store_id, f"{location.url} is not in {self.where}")
        return place

    def _place_of(self, location: Location) -> Place:
        """Connects where only the cluster can tell its fsid."""
        place = self._place_here(location)
        if place.fsid != self._cluster.fsid:
            raise StoreError(self.store_id, f"{location.url} is not in {self.where}")
        return place

    def _temporary_of(self, trace: str) -> str:
        temporary = temporary_of(trace, self._options.pool)
        if temporary is None:
            raise StoreError(self.store_id, f"not a temporary image of this store: {trace}")
        return temporary

    @contextmanager
    def _images(self, doing: str) -> Iterator[Images]:
        with self._cluster.pool() as ioctx, mapped(self.store_id, doing):
            yield Images(self.store_id, self._cluster.bindings(), ioctx)
