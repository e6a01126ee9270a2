"""Writing one image of a file store.

Under a temporary name in the store's directory, made durable, linked to its final name and the directory made durable: a crash
never leaves a partial image under an image's name. The order is containerd's (``plugins/content/local/writer.go``); ``link``
instead of ``rename`` because it refuses to replace.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from glance_stream import threads
from glance_stream.chunker import Lane, Ring, WriteLane
from glance_stream.errors import Duplicate, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.file.left import open_left, space_of
from glance_stream.stores.file.system import (
    NOT_CREATED,
    NOT_THERE,
    directory_identity,
    is_same_file,
    mapped,
    remove_durably,
    remove_if_there,
    rename_no_replace,
    require_same_directory,
    sync_directory,
)

TEMPORARY_NAME = re.compile(r"\.(?P<image_id>[A-Za-z0-9_][A-Za-z0-9_.-]*)\.[0-9a-f]{16}\.part")

NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

Prepare = Callable[[int | None, bool], Awaitable[None]]  # with size hint and thin: the store's part of the opening


def temporary_name(image_id: str) -> str:
    """A new one for the image's file until it is complete."""
    return f".{image_id}.{secrets.token_hex(8)}.part"


def is_temporary_of(image_id: str, name: str) -> bool:
    found = TEMPORARY_NAME.fullmatch(name)
    return found is not None and found["image_id"] == image_id


def identity_of(facts: os.stat_result) -> tuple[int, int, int]:
    """Device, inode, and when it was last written: the inode of a file that was removed is soon another's."""
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


class FileWriter(Writer):
    """One file on its way. The lane writes natively to the descriptor; nobody closes it while a write may be under way."""

    def __init__(
        self,
        store_id: str,
        final: Path,
        mode: int | None,
        prepare: Prepare,
        *,
        thin: bool = False,
        name: str | None = None,
        resumed: bool = False,
    ) -> None:
        """``prepare(size_hint, thin)``: the store's part of the opening. thin: always. name: the temporary one, if it is given.

        resumed: another process has made it, and is dead.
        """
        self._store_id = store_id
        self._prepare = prepare
        self._final = final
        self._thin = thin
        self._mode = mode
        self._temporary = final.with_name(name or temporary_name(final.name))
        self.trace = f"file://{self._temporary}"
        self._position = 0
        self._lock = threading.Lock()
        self._users = 0  # threads inside a system call on the descriptor
        self._naming = threading.Lock()  # held by the thread that creates or removes: a removal waits for a creation under way
        self._created = resumed  # or it may be
        self._resumed = resumed
        self._held = 0  # the size of what was there
        self._kept = 0
        self._lane: WriteLane | None = None
        self._begun = self._ended = False
        self._flushed: int | None = None
        self._unsynced = False  # an fsync has failed
        self._place = ""  # the identity of the directory
        self._linking = self._linked = False  # the final name may be, is ours; and it is not committed yet
        self._published = False
        self._identity: tuple[int, int, int] | None = None  # as `identity_of` has it
        self._fd: int | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun, self._thin = True, thin or self._thin
        there = await threads.call(space_of, self._store_id, self._temporary) if self._resumed else 0
        await self._prepare(None if size_hint is None else max(0, size_hint - there), self._thin)
        await threads.call(self._create)

    def _create(self) -> None:
        with self._naming, mapped(self._store_id):
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            if os.path.lexists(self._final):
                raise Duplicate(self._store_id, f"{self._final} is there already")
            self._place = directory_identity(self._final.parent)
            private = None if self._mode is None else self._mode & 0o600  # until it is complete nobody else may read it
            if self._resumed:
                fd, self._held = open_left(self._store_id, self._temporary, private)
            else:
                fd = self._open_new(0o666 if private is None else private)
            with self._lock:
                self._fd = fd
                self._close_unused()  # aborted meanwhile: the abort waits to remove the file

    def _open_new(self, mode: int) -> int:
        self._created = True
        try:
            return os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except OSError as error:
            self._created = error.errno not in NOT_CREATED
            raise

    @property
    def kept(self) -> int:
        return self._kept + (self._lane.kept if self._lane is not None else 0)

    def attach(self, ring: Ring) -> Lane:
        with self._descriptor() as fd:
            self._lane = WriteLane(ring, fd, thin=self._thin, held=self._held)
            return self._lane

    def drain(self, lane: Lane) -> None:
        assert isinstance(lane, WriteLane)
        with self._descriptor():
            self._flushed = None
            lane.run()

    def write(self, view: memoryview) -> None:
        with self._descriptor() as fd, view.cast("B") as left:
            self._flushed = None
            done = self._keep(fd, left)
            while done < len(left):
                done += os.pwrite(fd, left[done:], self._position + done)
        self._position += done

    def _keep(self, fd: int, piece: memoryview) -> int:
        """How much of the piece need not be written, because it is there: all of it or nothing."""
        there = self._position + len(piece) <= self._held and os.pread(fd, len(piece), self._position) == piece
        self._kept += len(piece) if there else 0
        return len(piece) if there else 0

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        with self._descriptor() as fd:
            if self._mode is not None:
                os.fchmod(fd, self._mode)
            if self._held and self._position:  # not by the lane, which sets the size itself
                os.ftruncate(fd, self._position)
            self._sync(fd)
            facts = os.fstat(fd)
        if facts.st_size != size:
            raise StoreUnavailable(self._store_id, f"{self._temporary} holds {facts.st_size} bytes, not {size}")
        self._identity = identity_of(facts)
        self._flushed = size

    def _sync(self, fd: int) -> None:
        """Not a second time after an error: the kernel may have dropped what it could not write, and the next would go well."""
        if self._unsynced:
            raise StoreUnavailable(self._store_id, f"{self._temporary}: fsync failed before, what was written may be lost")
        try:
            os.fsync(fd)
        except OSError:
            self._unsynced = True
            raise

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        with self._descriptor():
            pass  # a writer that has ended can't commit
        try:
            if size != self._flushed:
                raise StoreError(self._store_id, f"commit of {size} bytes, {self._flushed} were flushed")
            await threads.call(self._publish)
        finally:
            self.end()
        return Location(f"file://{self._final}", self._store_id)

    def _publish(self) -> None:
        with mapped(self._store_id):
            self._linking = self._published = True  # also when it fails: the answer of a network file system may be wrong
            try:
                os.link(self._temporary, self._final)
            except OSError as error:
                if error.errno in NO_HARD_LINKS:
                    rename_no_replace(self._temporary, self._final)
                elif error.errno != errno.EEXIST or not is_same_file(self._temporary, self._final):
                    raise  # the same file: NFS repeated our own link because the first answer was lost
            self._linked = True
            remove_if_there(self._temporary)
            sync_directory(self._final.parent)
        self._linking = self._linked = False  # committed: no longer this writer's to remove

    async def published(self) -> Location | None:
        """After `abort` only a commit that went well, and of which nobody was told, has left anything."""
        with mapped(self._store_id):
            return await threads.call(self._look)

    def _look(self) -> Location | None:
        return Location(f"file://{self._final}", self._store_id) if self._published and self._is_ours() else None

    def _is_ours(self) -> bool:
        """What has the final name: it may be somebody else's file."""
        try:
            found = os.lstat(self._final)
        except OSError as error:
            if error.errno in NOT_THERE:
                return False
            raise
        return identity_of(found) == self._identity

    async def abort(self) -> None:
        self.end()
        with mapped(self._store_id):
            await threads.call(self._remove)

    def _remove(self) -> None:
        with self._naming:
            if self._place and (self._created or self._linking):
                require_same_directory(self._final.parent, self._place)
            # The commit failed after the link, or that took effect and failed: what may not survive a crash is not committed.
            final = [self._final] if self._linking and (self._linked or self._is_ours()) else []
            if self._created:
                remove_durably(self._temporary, *final)
                self._created = False
            if self._linking:
                self._linking = self._linked = self._published = False

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        """The descriptor, kept open while it is in use: a number closed and reused would send a write into another file."""
        with self._lock:
            if self._fd is None or self._ended:
                raise StoreError(self._store_id, "the writer has ended" if self._ended else "the writer is not open")
            self._users += 1
            fd = self._fd
        try:
            with mapped(self._store_id):
                yield fd
        finally:
            with self._lock:
                self._users -= 1
                self._close_unused()

    def end(self) -> None:
        """No new use of the descriptor; it is closed now or by its last user."""
        with self._lock:
            self._ended = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._ended and not self._users and self._fd is not None:
            fd, self._fd = self._fd, None  # gone also when closing it fails: a second try would close another's
            with suppress(OSError):  # what is committed was synced before, and the rest is removed
                os.close(fd)
