"""What librbd does not do by itself with the images of a pool: look before it removes, and settle a rename that was cut short.

An image has a name and an internal id. Three things tie them together: the object ``rbd_id.<name>``, which holds the id and by
which an image is opened; and in the object ``rbd_directory`` an entry for the name and one for the id, which change together.
librbd's rename (``RenameRequest.cc``) writes ``rbd_id.<new>``, then changes the directory, then removes ``rbd_id.<old>``. So
after a death in between one image has two names, and removing it by the one that is left over would take it from the other.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

from glance_stream.errors import ObjectBusy, StoreError, StoreUnavailable
from glance_stream.stores.rbd.bindings import Bindings
from glance_stream.stores.rbd.errors import code_of

DIRECTORY, TRASH = "rbd_directory", "rbd_trash"
DIFFERENT = 4095  # Ceph's MAX_ERRNO: from here on an errno says at which byte two contents differ
LONGEST_ID = 4096  # bytes read of an id object


class Images:
    """The images of the pool behind one ioctx. Errors are the bindings' own."""

    def __init__(self, store_id: str, bindings: Bindings, ioctx: Any) -> None:
        self._store_id = store_id
        self._rados, self._rbd = bindings
        self._ioctx = ioctx

    @contextmanager
    def opened(self, name: str, snapshot: str | None = None, *, read_only: bool = True) -> Iterator[Any]:
        """Opened read-only it has no watch, and holds up nobody."""
        with self._rbd.Image(self._ioctx, name, snapshot=snapshot, read_only=read_only) as image:
            yield image

    def names(self) -> list[str]:
        return list(self._rbd.RBD().list(self._ioctx))

    def changed_at(self, name: str) -> float | None:
        """When its content last changed, up to a minute late (``rbd_mtime_update_interval``); None if it is gone.

        Of an image that has no header: when its creation was begun, or 0 if it was being removed.
        """
        try:
            with self.opened(name) as image:
                return float(image.modify_timestamp().replace(tzinfo=UTC).timestamp())
        except self._rbd.ImageNotFound:
            return self._begun_at(name) if self.listed_id_of(name) is not None else None

    def _begun_at(self, name: str) -> float:
        try:
            _, when = self._ioctx.stat(f"rbd_id.{name}")
        except self._rados.ObjectNotFound:
            return 0.0
        return time.mktime(when)

    def id_of(self, name: str) -> str | None:
        """The internal id by which the name is opened. '' for an id object that its creator died on; None if there is none."""
        try:
            held = self._ioctx.read(f"rbd_id.{name}", LONGEST_ID)
        except self._rados.ObjectNotFound:
            return None
        return _decoded(held)

    def listed_id_of(self, name: str) -> str | None:
        return self._ask_directory("dir_get_id", name)

    def listed_name_of(self, internal: str) -> str | None:
        return self._ask_directory("dir_get_name", internal)

    def _ask_directory(self, method: str, key: str) -> str | None:
        try:
            _, answer = self._ioctx.execute(DIRECTORY, "rbd", method, _encoded(key))
        except self._rados.ObjectNotFound:
            return None
        return _decoded(answer)

    def trashed(self) -> dict[str, float]:
        """Names in the pool's trash, and since when. A removal that was cut short is there: librbd moves the image there first."""
        return {
            each["name"]: each["deletion_time"].replace(tzinfo=UTC).timestamp() for each in self._rbd.RBD().trash_list(self._ioctx)
        }

    def is_anything_of(self, name: str) -> bool:
        """Whether anything is left of an image of this name, whole or not."""
        return self.id_of(name) is not None or self.listed_id_of(name) is not None or name in self.trashed()

    def make_trash(self) -> None:
        """Needed for a removal; in a full pool it could not be made any more, and what fills the pool could not be removed."""
        with self._rados.WriteOpCtx() as operation:
            operation.new(self._rados.LIBRADOS_CREATE_IDEMPOTENT)
            self._ioctx.operate_write_op(operation, TRASH)

    def await_unwatched(self, name: str, patience: float) -> None:
        """Raises ObjectBusy if after ``patience`` seconds a client still has the image open.

        One that died is among them until its watch runs out, after 30 s (``osd_client_watch_timeout``).
        """
        deadline = time.monotonic() + patience
        while self._is_watched(name):
            if time.monotonic() >= deadline:
                raise ObjectBusy(
                    self._store_id,
                    f"image {name} is open elsewhere; a client that died counts for half a minute more",
                    retry_after=30.0,
                )
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))

    def _is_watched(self, name: str) -> bool:
        try:
            with self.opened(name) as image:
                return any(image.watchers_list())
        except self._rbd.ImageNotFound:
            return False  # or what is left of it can't be opened

    def remove_whole(self, name: str, patience: float = 0.0) -> None:
        """With its snapshots, or what is left if it was cut short before. Raises ObjectBusy before anything is changed."""
        self.await_unwatched(name, patience)
        try:
            with self.opened(name, read_only=False) as image:
                for snapshot in list(image.list_snaps()):
                    remove_snapshot(self._rbd, image, snapshot["name"])
        except self._rbd.ImageNotFound:
            pass  # its header is gone or was never there
        self.remove(name)

    def remove(self, name: str) -> None:
        """One without snapshots. Raises ImageNotFound if nothing of it was there."""
        try:
            self._rbd.RBD().remove(self._ioctx, name)
        except self._rbd.ImageNotFound as error:
            # Said also of an image that could not be moved to the trash, as in a full pool that has none yet.
            if self.listed_id_of(name) is not None:
                raise StoreUnavailable(self._store_id, f"image {name} could not be removed") from error
            raise

    def drop_id_object(self, name: str, internal: str) -> None:
        """Remove ``rbd_id.<name>`` if it still is this image's: in one step, since another may have taken the name meanwhile."""
        with self._rados.WriteOpCtx() as operation:
            operation.cmpext(_encoded(internal), 0)
            operation.remove()
            try:
                self._ioctx.operate_write_op(operation, f"rbd_id.{name}")
            except self._rados.ObjectNotFound:
                pass
            except self._rados.Error as error:
                if (code_of(error) or 0) < DIFFERENT:
                    raise

    def discard(self, temporary: str, final: str, patience: float) -> str | None:
        """Remove what a writer left under its temporary name, and the final name if a rename got only as far as to write it.

        Returns the internal id of the image that a rename has moved to its final name: that one is committed and stays.
        """
        internal = self.id_of(temporary)
        if internal:
            name = self.listed_name_of(internal)
            if name not in (None, temporary):
                self.drop_id_object(temporary, internal)
                return internal
            self.await_unwatched(temporary, patience)
            self.drop_id_object(final, internal)
        if self.is_anything_of(temporary):
            with suppress(self._rbd.ImageNotFound):  # librbd says so when it has removed a lone id object
                self.remove_whole(temporary, patience)
            if self.is_anything_of(temporary):
                raise StoreError(self._store_id, f"something is left of image {temporary}")
        return None


def remove_snapshot(rbd: Any, image: Any, name: str) -> None:
    """Also one that is not protected, or not there, because an earlier removal got that far."""
    try:
        image.unprotect_snap(name)
    except rbd.InvalidArgument:
        pass  # it is not protected
    except rbd.ImageNotFound:
        return
    with suppress(rbd.ImageNotFound):
        image.remove_snap(name)


def _encoded(text: str) -> bytes:
    """As Ceph's ``encode`` of a string: its length in 32 bits, little-endian, then the bytes."""
    return struct.pack("<I", len(text)) + text.encode()


def _decoded(held: bytes) -> str:
    if len(held) < 4:
        return ""
    (length,) = struct.unpack_from("<I", held)
    return held[4 : 4 + length].decode()
