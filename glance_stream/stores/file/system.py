"""What the file store asks of the operating system, and its errors as ours. All of it blocks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glance_stream.errors import Duplicate, NotFound, StoreDenied, StoreError, StoreFull, StoreUnavailable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
NOT_CREATED = DENIED | NOT_THERE | {errno.EEXIST}  # after these an O_EXCL creation has made nothing, and what is there is another's


@contextmanager
def mapped(store_id: str) -> Iterator[None]:
    """The edge where the operating system's errors become ours."""
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
        raise StoreUnavailable(store_id, reason) from error


@contextmanager
def mapped_for(store_id: str, path: Path) -> Iterator[None]:
    """`mapped`, for what is asked of the image at ``path``. Only where its directory is there is the image known to be missing.

    The directory of a file system that is not mounted may be there too, and empty. Nothing tells that from a store that has lost
    its images; a store's directory had better be one below its mount point.
    """
    with mapped(store_id):
        try:
            yield
        except FileNotFoundError as error:
            if is_directory(path.parent):
                raise NotFound(store_id, f"{path} is not there") from error
            raise StoreUnavailable(store_id, f"{path.parent} is not there: is it mounted?") from error


def look_at(store_id: str, path: Path) -> os.stat_result:
    """The facts of an image's file. Raises NotFound, StoreError."""
    with mapped_for(store_id, path):
        found = os.lstat(path)
    require_regular(store_id, path, found.st_mode)
    return found


def require_regular(store_id: str, path: Path, mode: int) -> None:
    """A symlink could lead to any file of the host, and a FIFO never ends: nothing of ours has such a thing for an image."""
    if not stat.S_ISREG(mode):
        raise StoreError(store_id, f"{path} is not a regular file")


def is_directory(path: Path) -> bool:
    """False only where that is known; unlike `Path.is_dir`, other errors are raised."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in NOT_THERE:
            return False
        raise


def lost(store_id: str, where: str, images: int) -> StoreUnavailable:
    """For a store without its directory, in which so many images are recorded."""
    recorded = "1 image is" if images == 1 else f"{images} images are"
    return StoreUnavailable(store_id, f"{where} is not there, and {recorded} recorded in it: is it mounted?")


def not_writable(store_id: str, place: Path) -> StoreDenied:
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return StoreDenied(store_id, f"{place} can't be written to: the file system is read-only")
    return StoreDenied(store_id, f"no permission to write in {place}")


def directory_identity(path: Path) -> str:
    """The same for every name of one directory: symbolic links, bind mounts. Of one that is not there only links are known."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return os.path.realpath(path)
    return f"directory {facts.st_dev}:{facts.st_ino}"


def nearest_directory(store_id: str, path: Path) -> Path:
    """``path``, or what is there of the way to it. Raises StoreDenied where something else is in its way, which will not pass."""
    place = path
    while not is_directory(place):
        if not os.path.lexists(place):
            place = place.parent
        elif not is_directory(place):  # nor has another made it one since the first look
            raise StoreDenied(store_id, f"{path} can't be made: {place} is no directory")
    return place


def make_directory(store_id: str, path: Path) -> None:
    """With all levels above it that are missing; each is durable before there is anything in it."""
    place = nearest_directory(store_id, path)
    for name in path.relative_to(place).parts:
        place /= name
        with suppress(FileExistsError):  # another was faster; whether with a directory the next level finds out, or the caller
            os.mkdir(place)
        sync_directory(place.parent)


def path_of_url(url: str) -> Path | None:
    """The path of a ``file://`` URL as glance_store writes it: no host, no percent-encoding. None for any other URL."""
    prefix = "file://"
    path = url.removeprefix(prefix)
    if not url.startswith(prefix) or not path.startswith("/"):
        return None
    return Path(os.path.normpath(path))


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make a regular file's content durable."""
    _sync(path, os.O_NOFOLLOW | os.O_NONBLOCK)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
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


def remove_durably(*paths: Path) -> None:
    """Of one directory. What no record names any more must not be back after a power cut, so also that it was gone is synced."""
    for path in paths:
        remove_if_there(path)
    try:
        sync_directory(paths[0].parent)
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise


def require_same_directory(path: Path, identity: str) -> None:
    """Raises FileNotFoundError where another has taken its place: it was renamed, or its file system is not mounted any more."""
    if directory_identity(path) != identity:
        raise FileNotFoundError(errno.ENOENT, "not the directory any more that it was: is it mounted?", str(path))


def rename_no_replace(old: Path, new: Path) -> None:
    """For file systems without hard links: the check and the rename are two steps, the image's lock keeps others of ours out."""
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
    os.rename(old, new)
