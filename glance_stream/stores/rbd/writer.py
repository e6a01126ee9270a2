"""Writing one image of an RBD store.

Into an image with a temporary name, which gets its snapshot there and at the commit its final name: librbd's rename changes names
only, and refuses one that is taken. The snapshot, protected, is what glance_store's driver makes when the image is complete.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from glance_stream import threads
from glance_stream.chunker import Lane
from glance_stream.errors import Duplicate, StoreError
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.rbd.cluster import Cluster
from glance_stream.stores.rbd.delete import delete_image
from glance_stream.stores.rbd.errors import mapped, store_error
from glance_stream.stores.rbd.images import MARK, Images, mark
from glance_stream.stores.rbd.names import SNAPSHOT, Place, location_url, temporary_name, trace_url
from glance_stream.stores.rbd.options import MIB, RbdOptions
from glance_stream.stores.rbd.sparse import data_runs
from glance_stream.stores.rbd.window import Window

# An image of unknown size grows ahead of what is written, by twice as much each time, as in glance_store since 2.3.0.
FIRST_GROWTH, LARGEST_GROWTH = 16 * MIB, 8192 * MIB


class RbdWriter(Writer):
    """One image on its way.

    Each write is copied once, into a bytes object, since the binding takes nothing else, and then sent without waiting. Memory:
    ``writes_in_flight`` times the smaller of slot and object size. An error shows in the next write, or in the flush.
    """

    def __init__(self, store_id: str, cluster: Cluster, options: RbdOptions, image_id: str) -> None:
        self._store_id = store_id
        self._cluster = cluster
        self._options = options
        self._final = image_id
        self._temporary = temporary_name(image_id)
        self.trace = trace_url(options.pool, self._temporary)
        self._window = Window(options.writes_in_flight)
        self._lock = threading.Condition()
        self._users = 0  # threads inside a call on the image
        self._naming = threading.Lock()  # held by the thread that creates, renames or removes
        self._held = ExitStack()  # the image and the connection under it
        self._image: Any = None
        self._begun = self._ended = self._thin = False
        self._created = False  # or it may be
        self._internal: str | None = None  # the image's id, whatever its name
        self._position = self._size = 0
        self._flushed: int | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun, self._thin = True, thin or self._options.thin
        await threads.call(self._open, size_hint or 0)

    def _open(self, size: int) -> None:
        with self._naming, ExitStack() as opening:
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            ioctx = opening.enter_context(self._cluster.pool())
            opening.enter_context(mapped(self._store_id, f"image {self._final} can't be created"))
            images = self._images(ioctx)
            if images.id_of(self._final) is not None or images.listed_id_of(self._final) is not None:
                raise Duplicate(self._store_id, f"image {self._final} is there already, or what is left of it")
            images.make_trash()
            self._create(ioctx, size)
            image = opening.enter_context(images.opened(self._temporary, read_only=False))
            with self._lock:
                self._image, self._size, self._internal = image, size, image.id()
                self._held = opening.pop_all()

    def _create(self, ioctx: Any, size: int) -> None:
        rbd = self._cluster.bindings().rbd
        self._created = True
        try:
            rbd.RBD().create(ioctx, self._temporary, size, self._options.order, old_format=False, features=self._cluster.features)
        except (rbd.PermissionError, rbd.ReadOnlyImage):
            self._created = False
            raise

    def drain(self, lane: Lane) -> None:
        for slot in lane:
            if self._thin and slot.zero:
                self._skip(len(slot))
            else:
                with slot.view as view:
                    self.write(view)

    def _skip(self, length: int) -> None:
        with self._open_image():
            self._require_unflushed()
            self._position += length

    def write(self, view: memoryview) -> None:
        with self._open_image() as image, view.cast("B") as whole:
            self._require_unflushed()
            self._make_room(image, self._position + len(whole))
            for at in range(0, len(whole), self._options.object_size):
                with whole[at : at + self._options.object_size] as piece:
                    content = bytes(piece)
                for start, data in data_runs(content) if self._thin else ((0, content),):
                    self._send(image, data, self._position + start)
                self._position += len(content)

    def _require_unflushed(self) -> None:
        if self._flushed is not None:
            raise StoreError(self._store_id, f"image {self._temporary} is complete: it has its snapshot")

    def _make_room(self, image: Any, needed: int) -> None:
        if needed > self._size:
            growth = min(max(self._size, FIRST_GROWTH), LARGEST_GROWTH)
            self._size = max(needed, self._size + growth)
            image.resize(self._size)

    def _send(self, image: Any, data: bytes, offset: int) -> None:
        if not self._window.take():
            self._fail()
        try:
            image.aio_write(data, offset, self._written)
        except BaseException:
            self._window.done(0)
            raise

    def _written(self, completion: Any) -> None:
        self._window.done(completion.get_return_value())

    def _fail(self) -> None:
        if self._window.error:
            raise store_error(self._store_id, self._window.error, f"image {self._temporary} can't be written")
        raise StoreError(self._store_id, "the writer has ended")

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        with self._open_image() as image:
            if not self._window.wait_empty():
                self._fail()
            if self._position != size:
                raise StoreError(self._store_id, f"image {self._temporary} holds {self._position} bytes, not {size}")
            if self._size != size:
                image.resize(size)
                self._size = size
            image.flush()
            image.metadata_set(MARK, mark(self._temporary, image.id()))
            with suppress(self._cluster.bindings().rbd.ImageExists):  # an earlier flush came as far as that
                image.create_snap(SNAPSHOT)
            if not image.is_protected_snap(SNAPSHOT):
                image.protect_snap(SNAPSHOT)
            self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        with self._open_image():
            pass  # a writer that has ended can't commit
        if size != self._flushed:
            self._end()
            await threads.call(self._let_go)
            raise StoreError(self._store_id, f"commit of {size} bytes, {self._flushed} were flushed")
        return await threads.call(self._publish)

    def _publish(self) -> Location:
        with self._naming:
            self._end()
            try:
                with self._cluster.pool() as ioctx, mapped(self._store_id, f"image {self._final} can't get its name"):
                    self._cluster.bindings().rbd.RBD().rename(ioctx, self._temporary, self._final)
            finally:
                self._let_go()  # not before: an image that nobody has open may be discarded
            self._created = False  # committed: no longer this writer's to remove
            return self._location()

    def _location(self) -> Location:
        return Location(location_url(self._cluster.fsid, self._options.pool, self._final), self._store_id)

    async def published(self) -> Location | None:
        """What `commit` has made visible, once a commit under way has ended. Raises StoreError."""
        return await threads.call(self._published)

    def _published(self) -> Location | None:
        with self._naming, self._cluster.pool() as ioctx, mapped(self._store_id, f"image {self._final}"):
            return self._location() if self._images(ioctx).is_renamed(self._temporary, self._final) else None

    async def abort(self) -> None:
        self._end()
        await threads.call(self._abort)

    def _abort(self) -> None:
        with self._naming:
            try:
                self._let_go()
            finally:
                if self._created:
                    self._remove()
                    self._created = False

    def _remove(self) -> None:
        with self._cluster.pool() as ioctx, mapped(self._store_id, f"image {self._temporary} can't be removed"):
            images = self._images(ioctx)
            images.discard(self._temporary, self._final, patience=0)
            if self._internal is None:
                return
            if self._internal in images.ids_by(self._final):  # a commit that failed, and yet changed the name
                place = Place(self._cluster.fsid, self._final, SNAPSHOT)
                delete_image(self._store_id, self._cluster.bindings().rbd, images, place)
            else:
                images.drop_id_object(self._final, self._internal)

    def _images(self, ioctx: Any) -> Images:
        return Images(self._store_id, self._cluster.bindings(), ioctx)

    @contextmanager
    def _open_image(self) -> Iterator[Any]:
        """The image, kept open while it is in use."""
        with self._lock:
            if self._image is None or self._ended:
                raise StoreError(self._store_id, "the writer has ended" if self._ended else "the writer is not open")
            self._users += 1
        try:
            with mapped(self._store_id, f"image {self._temporary} can't be written"):
                yield self._image
        finally:
            with self._lock:
                self._users -= 1
                self._lock.notify_all()

    def _end(self) -> None:
        """No new use of the image, and no waiting in those under way."""
        with self._lock:
            self._ended = True
        self._window.stop()

    def _let_go(self) -> None:
        """Close the image when its last user is done; librbd then waits for what is in flight, each within its time limit."""
        with self._lock:
            self._lock.wait_for(lambda: not self._users)
            held, self._held = self._held, ExitStack()
            self._image = None
        with mapped(self._store_id, f"image {self._temporary} can't be closed"):
            held.close()
