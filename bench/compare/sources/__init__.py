"""The files that jobs read, made before the first round, and by name in ``MAKERS``.

A maker is given the ground and the path to write; it writes a file or a directory there, and may ask :func:`made` for another
source that it is made from.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from compare.ground import Ground
from compare.sources import file_system, noise, sparse
from glance_stream.chunker import DEFAULT_SLOT_SIZE

MAKERS: dict[str, Callable[[Ground, Path], None]] = {
    "random": noise.make,
    "fs": file_system.make,
    "fs.gz": lambda ground, path: file_system.make_gzip(made(ground, "fs"), path),
    "fs.zst": lambda ground, path: file_system.make_zstd(made(ground, "fs"), path),
    "sparse": sparse.make,
    "holes": sparse.make_holes,
}


def made(ground: Ground, name: str) -> Path:
    """The source, made now unless it was; durable."""
    path = ground.source(name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = path.with_name(f"{path.name}.part")
        MAKERS[name](ground, begun)
        begun.rename(path)
    return path


def warm(paths: Iterable[Path]) -> None:
    """Bring all they hold into the page cache; holes are left out, for nobody can read a disk of 100 GiB before each job."""
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                _warm(file)


def _warm(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    buffer = memoryview(bytearray(DEFAULT_SLOT_SIZE))
    try:
        for start, end in data_in(fd):
            for at in range(start, end, len(buffer)):
                os.preadv(fd, [buffer[: end - at]], at)
    finally:
        os.close(fd)


def data_in(fd: int) -> Iterator[tuple[int, int]]:
    """From where to where a file has data and no hole."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
