"""What librbd does not do by itself with the images of a pool: look before it removes, and settle a rename that was cut short.

An image has a name and an internal id. Three things tie them together: the object ``rbd_id.<name>``, which holds the id and by
which an image is opened; and in the object ``rbd_directory`` an entry for the name and one for the id, which change together.
librbd's rename (``RenameRequest.cc``) writes ``rbd_id.<new>``, then changes the directory, then removes ``rbd_id.<old>``. So
after a death in between one image has two names, and removing it by the one that is left over would take it from the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

from glance_stream.errors import ObjectBusy, StoreError, StoreUnavailable
from glance_stream.stores.rbd.bindings import Bindings
from glance_stream.stores.rbd.encoding import decoded, encoded
from glance_stream.stores.rbd.errors import code_of
from glance_stream.stores.rbd.trash import TRASH, trashed

# Of an image that a writer of ours made: its temporary name and the image's id, since clones and copies inherit it.
MARK = "glance_stream.writer"
DIRECTORY = "rbd_directory"
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
        return decoded(held)[0]

    def listed_id_of(self, name: str) -> str | None:
        return self._ask_directory("dir_get_id", name)

    def listed_name_of(self, internal: str) -> str | None:
        return self._ask_directory("dir_get_name", internal)

    def _ask_directory(self, method: str, key: str) -> str | None:
        try:
            _, answer = self._ioctx.execute(DIRECTORY, "rbd", method, encoded(key))
        except self._rados.ObjectNotFound:
            return None
        return decoded(answer)[0]

    def trashed(self) -> dict[str, float]:
        """Names in the pool's trash, and since when; removals that were cut short are there too."""
        return {each.name: each.when for each in trashed(self._rados, self._ioctx)}

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
            operation.cmpext(encoded(internal), 0)
            operation.remove()
            try:
                self._ioctx.operate_write_op(operation, f"rbd_id.{name}")
            except self._rados.ObjectNotFound:
                pass
            except self._rados.Error as error:
                if (code_of(error) or 0) < DIFFERENT:
                    raise

    def is_published(self, temporary: str, final: str, patience: float) -> bool:
        """Whether the image under the final name is the one that had this temporary name.

        Also one that a removal has left in the trash: the removal is finished by that name. Raises ObjectBusy while a writer lives
        that may yet rename its image, StoreError for what is left of an image without its header, which tells nothing any more.
        """
        if self.is_renamed(temporary, final):
            return True
        self.await_unwatched(temporary, patience)
        return self.is_renamed(temporary, final)

    def is_renamed(self, temporary: str, final: str) -> bool:
        """As it is now. By the directory: the id object alone is a rename that was cut short, and taken back."""
        return any(self._mark_of(internal) == mark(temporary, internal) for internal in self.ids_by(final))

    def ids_by(self, name: str) -> list[str]:
        """Of what a removal by this name would remove: the image or, if there is none, what an earlier one left in the trash.

        What an operator has put there is not among it: librbd removes that by its id only.
        """
        if (listed := self.listed_id_of(name)) is not None:
            return [listed]
        return [each.id for each in trashed(self._rados, self._ioctx) if each.name == name and each.removing]

    def _mark_of(self, internal: str) -> str | None:
        try:
            with self._rbd.Image(self._ioctx, image_id=internal, read_only=True) as image:
                return str(image.metadata_get(MARK))
        except KeyError:
            return None
        except self._rbd.ImageNotFound as error:
            raise StoreError(self._store_id, f"what is left of image {internal} does not tell who made it") from error

    def discard(self, temporary: str, final: str, patience: float) -> None:
        """Remove what a writer left under its temporary name, and the final name if a rename got only as far as to write it.

        An image that a rename has moved to its final name is committed and stays.
        """
        internal = self.id_of(temporary)
        if internal:
            if not self._has_moved(internal, temporary):
                self.await_unwatched(temporary, patience)  # a writer keeps its image open until it is renamed
            if self._has_moved(internal, temporary):
                self.drop_id_object(temporary, internal)
                return
            self.drop_id_object(final, internal)
        if self.is_anything_of(temporary):
            with suppress(self._rbd.ImageNotFound):  # librbd says so when it has removed a lone id object
                self.remove_whole(temporary, patience)
            if self.is_anything_of(temporary):
                raise StoreError(self._store_id, f"something is left of image {temporary}")

    def _has_moved(self, internal: str, temporary: str) -> bool:
        return self.listed_name_of(internal) not in (None, temporary)


def mark(temporary: str, internal: str) -> str:
    return f"{temporary} {internal}"


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
