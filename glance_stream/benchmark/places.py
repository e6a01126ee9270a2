"""Where the benchmark writes: a directory of its own in each of the user's, gone at the end whatever happens."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from glance_stream.errors import InvalidRequest
from glance_stream.stores.file.system import sync_directory

PREFIX = ".glance-stream-bench-"
SPARE = 1 << 20  # what directories and the file system's own records may take beside the bytes


@dataclass
class Place:
    """One of the user's directories, and ours in it. ``mode``: how the core wrote there, once it has."""

    path: Path
    work: Path
    mode: str | None = None

    def clear(self, keep: Path) -> None:
        """Remove what a part wrote, and wait for it: the next part must not pay for the freeing."""
        for path in self.work.iterdir():
            if path != keep:
                path.unlink()
        sync_directory(self.work)


@contextmanager
def work_places(directories: Sequence[Path], size: int) -> Iterator[list[Place]]:
    """Raises InvalidRequest if a directory can't be used or is too small for ``size`` bytes; nothing was written then."""
    if not directories:
        raise InvalidRequest("no directory to measure in")
    for path in directories:
        _require_usable(path)
    _require_room(directories, size)
    with ExitStack() as stack:
        yield [Place(path, Path(stack.enter_context(_temporary(path)))) for path in directories]


def _temporary(path: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=PREFIX, dir=os.path.abspath(path))


def _require_usable(path: Path) -> None:
    if not path.is_dir():
        raise InvalidRequest(f"{path} is not a directory: make it first, or give the directory of a store")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise InvalidRequest(f"no permission to write in {path}")


def _require_room(directories: Sequence[Path], size: int) -> None:
    """Directories on one file system share its room; the first also holds the source."""
    copies = Counter(os.stat(path).st_dev for path in [directories[0], *directories])
    for path in directories:
        room = os.statvfs(path)
        free = room.f_bavail * room.f_frsize
        needed = copies[os.stat(path).st_dev] * (size + SPARE)
        if free < needed:
            raise InvalidRequest(
                f"the benchmark needs {needed / 1e6:,.0f} MB on the file system of {path}, free are {free / 1e6:,.0f} MB: "
                "give a smaller --size"
            )
