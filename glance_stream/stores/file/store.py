"""Images as files in one directory, laid out as glance_store's filesystem driver does: ``<path>/<image id>``.

Unlike that driver, which writes in place under the final name, a file here gets its name when it is complete (``writer.py``).
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiofiles.os
import msgspec

from glance_stream import threads
from glance_stream.errors import InvalidRequest, NotFound, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.path import PathSource, open_for_reading
from glance_stream.stores.base import SAFE_NAME, ObjectStat, Store, Stray, Traits, require_safe_name
from glance_stream.stores.file.left import BLOCK
from glance_stream.stores.file.system import (
    directory_identity,
    is_directory,
    look_at,
    lost,
    make_directory,
    mapped,
    mapped_for,
    nearest_directory,
    not_writable,
    path_of_url,
    remove_durably,
    require_regular,
    sync_directory,
    sync_file,
)
from glance_stream.stores.file.writer import TEMPORARY_NAME, FileWriter, is_temporary_of

# As aiofiles.os has others: a coroutine over a call that may block, here on our daemon threads.
remove = aiofiles.os.wrap(remove_durably)
fsync_directory = aiofiles.os.wrap(sync_directory)


class FileOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "file"`` store. ``file_perm``: `parse_file_perm`; by default the process's umask decides.

    ``thin``: leave holes for zeros, also when an import does not ask for it (glance_store's filesystem_thin_provisioning).
    """

    path: str
    file_perm: int | str | None = None
    thin: bool = False


def parse_file_perm(file_perm: int | str) -> int:
    """The mode that is written as octal digits: '640', '0640', '0o640', or the number 640 as glance_store has it.

    Raises ValueError for what can't be meant: TOML's own 0o640 arrives as the number 416, and digits taken from that would let
    everybody write. So the owner must be able to read and write, and nobody gets more than that.
    """
    written = re.fullmatch(r"(?:0o?)?([0-7]{3})", str(file_perm))
    mode = int(written[1], 8) if written else 0
    if mode & 0o600 != 0o600 or mode & ~0o666:
        raise ValueError(
            f"file_perm {file_perm!r} can't be used: give octal digits in quotes, such as '640', "
            "by which the owner may read and write and nobody may execute"
        )
    return mode


class FileStore(Store):
    """A directory on a local or network file system.

    While the directory is not there, as when its file system is not mounted, the store is unavailable: no image is then known to be
    missing. An empty mount point can't be told from an empty store. Only a writer makes the directory, unless it was
    seen before or images are recorded in it.
    """

    type = "file"

    def __init__(
        self,
        store_id: str,
        path: str | Path,
        *,
        read_only: bool = False,
        file_perm: int | str | None = None,
        thin: bool = False,
    ) -> None:
        """Raises InvalidRequest for a ``file_perm`` that can't be meant."""
        self.store_id = store_id
        self.path = Path(os.path.abspath(path))
        self.traits = Traits(read_only=read_only, thin=True, resumable=True, rereadable=True)
        try:
            self._mode = None if file_perm is None else parse_file_perm(file_perm)
        except ValueError as error:
            raise InvalidRequest(f"store {store_id!r}: {error}") from error
        self._thin = thin
        self._opened = False
        self._seen = False  # the directory was there
        self._recorded = 0  # images that should be in it

    @classmethod
    def from_options(cls, store_id: str, options: FileOptions, *, read_only: bool = False) -> FileStore:
        return cls(store_id, options.path, read_only=read_only, file_perm=options.file_perm, thin=options.thin)

    @property
    def where(self) -> str:
        return str(self.path)

    async def open(self) -> None:
        """Makes nothing: where the directory is still to be made, it is enough that it can be."""
        if not self._opened:
            await threads.call(self._open)
            self._opened = True

    def _open(self) -> None:
        with mapped(self.store_id):
            if is_directory(self.path):
                self._seen = True
            elif self._recorded:
                raise lost(self.store_id, self.where, self._recorded)
            if self.traits.read_only:
                if not self._seen:
                    raise StoreUnavailable(self.store_id, f"{self.path} is not there, or no directory")
                return
            place = nearest_directory(self.store_id, self.path)
            if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
                raise not_writable(self.store_id, place)

    async def is_there(self) -> bool:
        with mapped(self.store_id):
            return await threads.call(is_directory, self.path)

    def expect(self, images: int) -> None:
        self._recorded = images
        self._opened = False

    async def free_space(self) -> int:
        """Bytes that this user may still write. Of a directory that is still to be made, where it will be."""
        return await threads.call(self._free_space)

    def _free_space(self) -> int:
        with mapped(self.store_id):
            room = os.statvfs(nearest_directory(self.store_id, self.path))
        return room.f_bavail * room.f_frsize

    def writer(self, image_id: str, name: str | None = None) -> FileWriter:
        """``name``: of its temporary file, for one that was chosen before."""
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        return FileWriter(self.store_id, self._final(image_id), self._mode, self._prepare, thin=self._thin, name=name)

    def resume(self, image_id: str, trace: str) -> FileWriter:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        final, name = self._final(image_id), self._temporary(trace).name
        if not is_temporary_of(image_id, name):
            raise StoreError(self.store_id, f"not a temporary file of image {image_id}: {trace}")
        return FileWriter(self.store_id, final, self._mode, self._prepare, thin=self._thin, name=name, resumed=True)

    async def make(self) -> None:
        """The directory, if it is still to be made. Raises StoreError."""
        await self.open()
        if not self._seen:
            await threads.call(self._make)

    async def _prepare(self, size_hint: int | None, thin: bool) -> None:
        await self.make()
        await self._check_room(size_hint, thin)

    def _make(self) -> None:
        """Make the directory, unless it should be there: then it is gone because its file system is."""
        with mapped(self.store_id):
            if self._recorded and not is_directory(self.path):
                raise lost(self.store_id, self.where, self._recorded)
            make_directory(self.store_id, self.path)
        self._seen = True

    async def _check_room(self, size_hint: int | None, thin: bool) -> None:
        """Refuse early what can't fit; a thin image may fit although its size does not."""
        if size_hint is None or thin:
            return
        free = await self.free_space()
        if size_hint > free:
            raise StoreFull(self.store_id, f"the image has {size_hint} bytes, free are {free}")

    def open_left(self, trace: str) -> Source:
        return StoredFile(self.store_id, self._temporary(trace))

    def open_reader(self, location: Location) -> Source:
        return StoredFile(self.store_id, self._path_of(location))

    async def stat(self, location: Location) -> ObjectStat:
        found = await threads.call(look_at, self.store_id, self._path_of(location))
        return ObjectStat(size=found.st_size)

    async def delete(self, location: Location) -> None:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        path = self._path_of(location)
        await threads.call(look_at, self.store_id, path)  # what is no image is not ours to remove
        with mapped_for(self.store_id, path):
            await aiofiles.os.unlink(path, executor=threads.THREADS)
            await fsync_directory(path.parent, executor=threads.THREADS)

    async def discard(self, trace: str) -> None:
        path = self._temporary(trace)
        with mapped(self.store_id):
            await remove(path, executor=threads.THREADS)

    def _temporary(self, trace: str) -> Path:
        path = path_of_url(trace)
        if path is None or path.parent != self.path or not TEMPORARY_NAME.fullmatch(path.name):
            raise StoreError(self.store_id, f"not a temporary file of this store: {trace}")
        return path

    async def strays(self) -> list[Stray]:
        return await threads.call(self._strays)

    def _strays(self) -> list[Stray]:
        found: list[Stray] = []
        now = time.time()
        with mapped(self.store_id):
            if not is_directory(self.path):
                return found
            for entry in list(os.scandir(self.path)):
                name = TEMPORARY_NAME.fullmatch(entry.name)
                if name and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # its writer has ended meanwhile
                        facts = entry.stat(follow_symlinks=False)
                        age = max(0.0, now - facts.st_mtime)
                        found.append(Stray(f"file://{entry.path}", name["image_id"], age, facts.st_blocks * BLOCK))
        return found

    async def find(self, image_id: str) -> Location | None:
        path = self._final(image_id)
        try:
            await threads.call(look_at, self.store_id, path)
        except NotFound:
            return None
        return Location(f"file://{path}", self.store_id)

    async def make_durable(self, location: Location) -> None:
        """glance_store syncs nothing."""
        path = self._path_of(location)
        with mapped_for(self.store_id, path):
            await threads.call(sync_file, path)
            await fsync_directory(path.parent, executor=threads.THREADS)

    async def places(self) -> frozenset[str]:
        with mapped(self.store_id):
            return frozenset({await threads.call(directory_identity, self.path)})

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


class StoredFile(PathSource):
    """An image's file as a source. That it is missing is the store's failure and not a bad request."""

    def __init__(self, store_id: str, path: Path) -> None:
        super().__init__(path)
        self._store_id = store_id
        self._path = path

    def open(self) -> SourceInfo:
        try:
            return super().open()
        except InvalidRequest as error:  # it was opened, and then failed
            raise StoreUnavailable(self._store_id, str(error)) from error

    def _open_descriptor(self) -> int:
        with mapped_for(self._store_id, self._path):
            return open_for_reading(self.path, partial(require_regular, self._store_id, self._path), follow_symlinks=False)
