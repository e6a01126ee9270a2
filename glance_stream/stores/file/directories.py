"""Images as files in several directories, as glance_store's ``filesystem_store_datadirs`` has them.

A new image goes into the directory of the highest priority that has room for it, of equal ones into that with the most; reading and
deleting go where the image is. The directories are usually disks, and one that is missing makes the store unavailable for
writing: whether the image is there already could not be told.

They are made only where none of them is there yet. One that is missing beside others is a disk that is not mounted, or was never
made: what is written under its mount point would fill another file system, and be hidden once it is mounted. So it is with all of
them, once images are recorded there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from glance_stream import threads
from glance_stream.chunker import Lane, Ring
from glance_stream.errors import Duplicate, InvalidRequest, NotFound, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer, require_safe_name
from glance_stream.stores.file.store import FileStore
from glance_stream.stores.file.system import is_directory, lost, mapped
from glance_stream.stores.file.writer import TEMPORARY_NAME, FileWriter, is_temporary_of, temporary_name

TRACE = "file:"  # and the temporary file's name: in which directory it is, is not known before the opening


class FileDirectoriesOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "file_directories"`` store. ``directories``: absolute path -> priority, the highest first.

    ``file_perm`` and ``thin``: as of a file store.
    """

    directories: dict[str, int]
    file_perm: int | str | None = None
    thin: bool = False


class FileDirectoriesStore(Store):
    """Several file stores under one name. Memory: none of its own."""

    type = "file_directories"

    def __init__(
        self,
        store_id: str,
        directories: Mapping[str, int],
        *,
        read_only: bool = False,
        file_perm: int | str | None = None,
        thin: bool = False,
    ) -> None:
        """Raises InvalidRequest."""
        if not directories or not all(os.path.isabs(path) for path in directories):
            raise InvalidRequest(f"store {store_id!r}: directories must be absolute paths with priorities, one at least")
        self.store_id = store_id
        self.traits = Traits(read_only=read_only, thin=True, resumable=True)
        self._priority = {
            FileStore(store_id, path, read_only=read_only, file_perm=file_perm, thin=thin): priority
            for path, priority in directories.items()
        }
        self._recorded = 0  # images that should be there
        self._making = asyncio.Lock()  # or another writer sees a half of what the first one makes, and takes it for a loss

    @classmethod
    def from_options(cls, store_id: str, options: FileDirectoriesOptions, *, read_only: bool = False) -> FileDirectoriesStore:
        return cls(store_id, options.directories, read_only=read_only, file_perm=options.file_perm, thin=options.thin)

    @property
    def directories(self) -> list[FileStore]:
        """By priority, the highest first."""
        return sorted(self._priority, key=lambda one: -self._priority[one])

    @property
    def where(self) -> str:
        return ", ".join(one.where for one in self.directories)

    async def open(self) -> None:
        if self._recorded and not await self.is_there():
            raise lost(self.store_id, f"any of {self.where}", self._recorded)
        for one in self._priority:
            await one.open()

    async def is_there(self) -> bool:
        """Where only some are, a writer makes none."""
        return bool(await threads.call(self._there))

    def expect(self, images: int) -> None:
        self._recorded = images

    async def free_space(self) -> int:
        """Of the roomiest directory: an image does not spread over several."""
        return max(await asyncio.gather(*(one.free_space() for one in self._priority)))

    def writer(self, image_id: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        return _Writer(self, image_id, temporary_name(image_id))

    def resume(self, image_id: str, trace: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        name = self._temporary(trace)
        if not is_temporary_of(image_id, name):
            raise StoreError(self.store_id, f"not a temporary file of image {image_id}: {trace}")
        return _Writer(self, image_id, name, resumed=True)

    async def choose_left(self, name: str) -> FileStore:
        """The directory with this temporary file. Raises NotFound, StoreError."""
        async with self._making:
            await self._make()
        return await threads.call(self._find_left, name)

    def _find_left(self, name: str) -> FileStore:
        for one in self._priority:
            with mapped(self.store_id):
                if os.path.lexists(one.path / name):
                    return one
        raise NotFound(self.store_id, f"{name} is in none of {self.where}")

    async def choose(self, size_hint: int | None, thin: bool) -> FileStore:
        """Where a new image goes; all directories are there afterwards. Raises StoreFull, StoreError.

        A thin image may fit where its size does not, so where nothing has room for all of it the roomiest is taken.
        """
        async with self._making:
            await self._make()
        free = {one: await one.free_space() for one in self._priority}
        enough = [one for one in free if free[one] >= max(size_hint or 0, 1)]
        if not enough and not thin:
            raise StoreFull(
                self.store_id, f"the image has {size_hint or 'an unknown number of'} bytes, free are {max(free.values())}"
            )
        return max(enough or free, key=lambda one: (self._priority[one] if enough else 0, free[one]))

    async def _make(self) -> None:
        """All directories, where none is there. Raises StoreUnavailable where only some are, StoreError."""
        await self.open()
        there = await threads.call(self._there)
        for one in self._priority:
            if there and one not in there:
                raise StoreUnavailable(self.store_id, f"{one.where} is not there: is it mounted? One that is new is made by hand")
            await one.make()

    def _there(self) -> set[FileStore]:
        with mapped(self.store_id):
            return {one for one in self._priority if is_directory(one.path)}

    def open_reader(self, location: Location) -> Source:
        return self._owner(location).open_reader(location)

    async def stat(self, location: Location) -> ObjectStat:
        return await self._owner(location).stat(location)

    async def delete(self, location: Location) -> None:
        await self._owner(location).delete(location)

    async def discard(self, trace: str) -> None:
        name = self._temporary(trace)
        for one in self._priority:
            await one.discard(f"file://{one.path / name}")

    def _temporary(self, trace: str) -> str:
        name = trace.removeprefix(TRACE)
        if not trace.startswith(TRACE) or not TEMPORARY_NAME.fullmatch(name):
            raise StoreError(self.store_id, f"not a temporary file of this store: {trace}")
        return name

    async def strays(self) -> list[Stray]:
        found = [stray for one in self._priority for stray in await one.strays()]
        return [replace(stray, trace=f"{TRACE}{os.path.basename(stray.trace)}") for stray in found]

    async def find(self, image_id: str) -> Location | None:
        """Raises StoreError where one of the directories can't tell, and no other has it."""
        answers = await asyncio.gather(*(one.find(image_id) for one in self.directories), return_exceptions=True)
        found = [answer for answer in answers if isinstance(answer, Location)]
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if not found and failed:
            raise failed[0]
        return found[0] if found else None

    async def places(self) -> frozenset[str]:
        return frozenset().union(*[await one.places() for one in self._priority])

    def owns(self, url: str) -> bool:
        return any(one.owns(url) for one in self._priority)

    def _owner(self, location: Location) -> FileStore:
        for one in self._priority:
            if one.owns(location.url):
                return one
        raise StoreError(self.store_id, f"{location.url} is not in {self.where}")


class _Writer(Writer):
    """A file writer as soon as its directory is known. Its temporary name is known from the beginning."""

    def __init__(self, store: FileDirectoriesStore, image_id: str, name: str, *, resumed: bool = False) -> None:
        self._store = store
        self._image_id = image_id
        self._name = name
        self._resumed = resumed
        self.trace = f"{TRACE}{self._name}"
        self._inner: FileWriter | None = None
        self._begun = self._ended = False

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store.store_id, "a writer is opened once")
        self._begun = True
        directory = await (self._store.choose_left(self._name) if self._resumed else self._store.choose(size_hint, thin))
        await self._require_new()
        if self._ended:  # aborted meanwhile
            raise StoreError(self._store.store_id, "the writer has ended")
        self._inner = self._in(directory)
        await self._inner.open(size_hint, thin=thin)

    def _in(self, directory: FileStore) -> FileWriter:
        if self._resumed:
            return directory.resume(self._image_id, f"file://{directory.path / self._name}")
        return directory.writer(self._image_id, self._name)

    @property
    def kept(self) -> int:
        return 0 if self._inner is None else self._inner.kept

    async def _require_new(self) -> None:
        found = await self._store.find(self._image_id)
        if found is not None:
            raise Duplicate(self._store.store_id, f"{found.url} is there already")

    def attach(self, ring: Ring) -> Lane:
        return self._opened.attach(ring)

    def drain(self, lane: Lane) -> None:
        self._opened.drain(lane)

    def write(self, view: memoryview) -> None:
        self._opened.write(view)

    async def flush(self, size: int) -> None:
        await self._opened.flush(size)

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        """Between the look into the other directories and the link, the image's lock keeps others of ours out."""
        inner = self._opened
        try:
            await self._require_new()
            return await inner.commit(size, digests)
        finally:
            inner.end()

    async def published(self) -> Location | None:
        return None if self._inner is None else await self._inner.published()

    async def abort(self) -> None:
        self._ended = True
        if self._inner is not None:
            await self._inner.abort()
        elif self._resumed:
            await self._store.discard(self.trace)

    @property
    def _opened(self) -> FileWriter:
        if self._inner is None:
            raise StoreError(self._store.store_id, "the writer has ended" if self._ended else "the writer is not open")
        return self._inner
