"""Images as files in one directory, laid out as glance_store's filesystem driver does: ``<path>/<image id>``.

Unlike that driver, which writes in place under the final name, a file here is written under a temporary name in the same directory,
made durable, linked to its final name and the directory made durable: a crash never leaves a partial image under an image's
name. The order is containerd's (``plugins/content/local/writer.go``); ``link`` instead of ``rename`` because it refuses to
replace.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiofiles.os
import msgspec

from glance_stream import threads
from glance_stream.chunker import Lane, Ring, WriteLane
from glance_stream.errors import (
    Duplicate,
    InvalidRequest,
    NotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.path import PathSource
from glance_stream.stores.base import SAFE_NAME, ObjectStat, Store, Traits, Writer, require_safe_name

TEMPORARY_NAME = re.compile(r"\.(?P<image_id>[A-Za-z0-9_][A-Za-z0-9_.-]*)\.[0-9a-f]{16}\.part")

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
NOT_CREATED = DENIED | NOT_THERE | {errno.EEXIST}  # after these an O_EXCL creation has made nothing, and what is there is another's
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

access = aiofiles.os.wrap(os.access)
lexists = aiofiles.os.wrap(os.path.lexists)
statvfs = aiofiles.os.wrap(os.statvfs)


class FileOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "file"`` store. ``file_perm``: octal digits, such as 640; by default the process's umask decides."""

    path: str
    file_perm: int | None = None


class FileStore(Store):
    """A directory on a local or network file system."""

    type = "file"

    def __init__(self, store_id: str, path: str | Path, *, read_only: bool = False, file_perm: int | None = None) -> None:
        self.store_id = store_id
        self.path = Path(os.path.abspath(path))
        self.traits = Traits(read_only=read_only, thin=True)
        self._mode = None if file_perm is None else int(str(file_perm), 8)
        self._opened = False

    @classmethod
    def from_options(cls, store_id: str, options: FileOptions, *, read_only: bool = False) -> FileStore:
        return cls(store_id, options.path, read_only=read_only, file_perm=options.file_perm)

    @property
    def where(self) -> str:
        return str(self.path)

    async def open(self) -> None:
        if self._opened:
            return
        with mapped(self.store_id):
            try:
                await aiofiles.os.makedirs(self.path, exist_ok=True, executor=threads.THREADS)
            except (FileExistsError, NotADirectoryError) as error:  # it will not pass: glance_store gives up writing here too
                raise StoreDenied(self.store_id, f"{self.path} can't be made: it or a part of it is no directory") from error
            writable = await access(self.path, os.R_OK | os.W_OK | os.X_OK, executor=threads.THREADS)
        if not writable and not self.traits.read_only:
            raise StoreDenied(self.store_id, f"no permission to write in {self.path}")
        self._opened = True

    def writer(self, image_id: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        return FileWriter(self, self._final(image_id), self._mode)

    async def check_room(self, size_hint: int | None, thin: bool) -> None:
        """Refuse early what can't fit; a thin image may fit although its size does not."""
        if size_hint is None or thin:
            return
        with mapped(self.store_id):
            room = await statvfs(self.path, executor=threads.THREADS)
        if size_hint > room.f_bavail * room.f_frsize:
            raise StoreFull(self.store_id, f"the image has {size_hint} bytes, free are {room.f_bavail * room.f_frsize}")

    def open_reader(self, location: Location) -> Source:
        return StoredFile(self.store_id, self._path_of(location))

    async def stat(self, location: Location) -> ObjectStat:
        path = self._path_of(location)
        with mapped(self.store_id, missing=path):
            found = await aiofiles.os.stat(path, executor=threads.THREADS)
        return ObjectStat(size=found.st_size)

    async def delete(self, location: Location) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        path = self._path_of(location)
        with mapped(self.store_id, missing=path):
            await aiofiles.os.unlink(path, executor=threads.THREADS)
            await threads.call(sync_directory, self.path)

    async def discard(self, trace: str) -> None:
        path = path_of_url(trace)
        if path is None or path.parent != self.path or not TEMPORARY_NAME.fullmatch(path.name):
            raise StoreError(self.store_id, f"not a temporary file of this store: {trace}")
        with mapped(self.store_id):
            await threads.call(remove_if_there, path)

    async def find(self, image_id: str) -> Location | None:
        path = self._final(image_id)
        with mapped(self.store_id):
            found = await lexists(path, executor=threads.THREADS)
        return Location(f"file://{path}", self.store_id) if found else None

    def owns(self, url: str) -> bool:
        path = path_of_url(url)
        return path is not None and path.parent == self.path and bool(SAFE_NAME.fullmatch(path.name))

    def _final(self, image_id: str) -> Path:
        require_safe_name(image_id)
        return self.path / image_id

    def _path_of(self, location: Location) -> Path:
        path = path_of_url(location.url)
        if path is None or not self.owns(location.url):
            raise StoreError(self.store_id, f"{location.url} is not in {self.path}")
        return path


class FileWriter(Writer):
    """One file on its way. The lane writes natively to the descriptor; nobody closes it while a write may be under way."""

    def __init__(self, store: FileStore, final: Path, mode: int | None) -> None:
        self._store = store
        self._store_id = store.store_id
        self._final = final
        self._thin = False
        self._mode = mode
        self._temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}.part")
        self.trace = f"file://{self._temporary}"
        self._position = 0
        self._lock = threading.Lock()
        self._users = 0  # threads inside a system call on the descriptor
        self._naming = threading.Lock()  # held by the thread that creates or removes: a removal waits for a creation under way
        self._created = False  # or it may be
        self._begun = self._ended = False
        self._flushed: int | None = None
        self._linked = False
        self._fd: int | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun, self._thin = True, thin
        await self._store.open()
        await self._store.check_room(size_hint, thin)
        await threads.call(self._create)

    def _create(self) -> None:
        with self._naming, mapped(self._store_id):
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            if os.path.lexists(self._final):
                raise Duplicate(self._store_id, f"{self._final} is there already")
            self._created = True
            try:
                fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except OSError as error:
                self._created = error.errno not in NOT_CREATED
                raise
            with self._lock:
                self._fd = fd
                self._close_unused()  # aborted meanwhile: the abort waits to remove the file

    def attach(self, ring: Ring) -> Lane:
        with self._descriptor() as fd:
            return WriteLane(ring, fd, thin=self._thin)

    def drain(self, lane: Lane) -> None:
        assert isinstance(lane, WriteLane)
        with self._descriptor():
            self._flushed = None
            lane.run()

    def write(self, view: memoryview) -> None:
        with self._descriptor() as fd, view.cast("B") as left:
            self._flushed = None
            done = 0
            while done < len(left):
                done += os.pwrite(fd, left[done:], self._position + done)
        self._position += done

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        with self._descriptor() as fd:
            if self._mode is not None:
                os.fchmod(fd, self._mode)
            os.fsync(fd)
            held = os.fstat(fd).st_size
        if held != size:
            raise StoreUnavailable(self._store_id, f"{self._temporary} holds {held} bytes, not {size}")
        self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        with self._descriptor():
            pass  # a writer that has ended can't commit
        try:
            if size != self._flushed:
                raise StoreError(self._store_id, f"commit of {size} bytes, {self._flushed} were flushed")
            await threads.call(self._publish)
        finally:
            self._close()
        return Location(f"file://{self._final}", self._store_id)

    def _publish(self) -> None:
        with mapped(self._store_id):
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
        self._linked = False  # committed: no longer this writer's to remove

    async def abort(self) -> None:
        self._close()
        with mapped(self._store_id):
            await threads.call(self._remove)

    def _remove(self) -> None:
        with self._naming:
            if self._created:
                remove_if_there(self._temporary)
            if self._linked:  # commit failed after the link: an image that may not survive a crash is not committed
                remove_if_there(self._final)
                self._linked = False

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

    def _close(self) -> None:
        """No new use of the descriptor; it is closed now or by its last user."""
        with self._lock:
            self._ended = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._ended and not self._users and self._fd is not None:
            os.close(self._fd)
            self._fd = None


class StoredFile(PathSource):
    """An image's file as a source. That it is missing is the store's failure and not a bad request."""

    def __init__(self, store_id: str, path: Path) -> None:
        super().__init__(path)
        self._store_id = store_id

    def open(self) -> SourceInfo:
        try:
            return super().open()
        except InvalidRequest as error:
            if not os.path.lexists(self.path):
                raise NotFound(self._store_id, f"{self.path} is not there") from error
            raise StoreUnavailable(self._store_id, str(error)) from error


@contextmanager
def mapped(store_id: str, *, missing: Path | None = None) -> Iterator[None]:
    """The edge where the operating system's errors become ours. ``missing``: a path whose absence is NotFound."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if error.errno in FULL:
            raise StoreFull(store_id, reason) from error
        if error.errno in DENIED:
            raise StoreDenied(store_id, reason) from error
        if error.errno == errno.EEXIST:
            raise Duplicate(store_id, reason) from error
        if error.errno == errno.ENOENT and missing is not None:
            raise NotFound(store_id, f"{missing} is not there") from error
        raise StoreUnavailable(store_id, reason) from error


def path_of_url(url: str) -> Path | None:
    """The path of a ``file://`` URL as glance_store writes it: no host, no percent-encoding. None for any other URL."""
    prefix = "file://"
    path = url.removeprefix(prefix)
    if not url.startswith(prefix) or not path.startswith("/"):
        return None
    return Path(os.path.normpath(path))


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_same_file(one: Path, other: Path) -> bool:
    return os.path.samestat(os.lstat(one), os.lstat(other))


def remove_if_there(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise


def rename_no_replace(old: Path, new: Path) -> None:
    """For file systems without hard links: the check and the rename are two steps, the image's lock keeps others of ours out."""
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
    os.rename(old, new)
