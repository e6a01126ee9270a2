"""The content of a real file system: an ext4 image of this machine's own files, about a fifth of it zeros, and that compressed.

Where mke2fs is missing, a tar of the interpreter's library, again and again until it is long enough.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from compare.ground import Ground

# From each an equal share: programs, libraries and texts are compressed and decompressed at quite different speeds.
FOLDERS = ("/usr/bin", "/usr/lib", "/usr/share", "/usr/include")
USED = 0.8  # of the image, in blocks of files; with the file system's own records about a fifth stays zero
LARGEST = 1 / 32  # of the image: one large file must not be most of a small image
BLOCK = 4096
PIECE = 1 << 20
# What a distribution's `gzip` and `zstd` do unless told otherwise.
GZIP_LEVEL, ZSTD_LEVEL = 6, 3
GZIP_FORMAT = 31  # zlib's word for a gzip header and trailer


def make(ground: Ground, path: Path) -> None:
    if mke2fs := shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        with tempfile.TemporaryDirectory(prefix="fs-", dir=path.parent) as place:
            tree, image = Path(place) / "tree", Path(place) / "image"
            count = _copy_files(tree, ground.size)
            _make_ext4(mke2fs, tree, image, ground.size, count)
            # Without holes, as an image on a server is that somebody has downloaded.
            with image.open("rb") as sparse, path.open("wb") as whole:
                shutil.copyfileobj(sparse, whole, PIECE)
    else:
        _make_tar(path, ground.size)


def make_gzip(source: Path, path: Path) -> None:
    """One member, as `gzip -6` writes it."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_FORMAT)
    with source.open("rb") as file, path.open("wb") as packed:
        while piece := file.read(PIECE):
            packed.write(packer.compress(piece))
        packed.write(packer.flush())


def make_zstd(source: Path, path: Path) -> None:
    """One frame, as `zstd -3` writes it."""
    with source.open("rb") as file, path.open("wb") as packed:
        zstandard.ZstdCompressor(ZSTD_LEVEL, write_checksum=True).copy_stream(file, packed)


def _copy_files(tree: Path, size: int) -> int:
    """How many files were copied into the tree."""
    tree.mkdir()
    count, room = 0, int(size * USED)
    for number, folder in enumerate(FOLDERS):
        share = room // (len(FOLDERS) - number)
        for path, held in _files(folder, int(size * LARGEST)):
            if share < held:
                break
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, target)
            except OSError:  # not ours to read, or gone by now
                target.unlink(missing_ok=True)
                continue
            count, share, room = count + 1, share - held, room - held
    return count


def _files(folder: str, largest: int) -> Iterator[tuple[str, int]]:
    """Regular files in a fixed order, each with the bytes that its blocks take."""
    for base, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = os.path.join(base, name)
            if os.path.isfile(path) and not os.path.islink(path):
                held = -(-os.path.getsize(path) // BLOCK) * BLOCK
                if held <= largest:
                    yield path, held


def _make_ext4(mke2fs: str, tree: Path, path: Path, size: int, count: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
    inodes = 2 * count + 100  # directories take some too
    command = [mke2fs, "-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-O", "^has_journal", "-m", "0", "-N", str(inodes)]
    subprocess.run([*command, "-d", str(tree), str(path)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _make_tar(path: Path, size: int) -> None:
    library = sysconfig.get_path("stdlib")
    with path.open("wb") as file:
        while file.tell() < size:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
                for found, _ in _files(library, size):
                    if file.tell() >= size:
                        break
                    archive.add(found)
        file.truncate(size)
