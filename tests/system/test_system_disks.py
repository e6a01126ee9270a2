"""File systems that are full, go away or are closed while a file is on its way into them."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_points import Fresh, assert_told, recover
from faults.preload import ForkServer
from meanwhile import Meanwhile
from system_home import IMAGE_ID, IMPORT, RECOVER, Home, with_config

BEST_EFFORT = (*IMPORT, "--best-effort")
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, and gives directories away")


@pytest.fixture
def home(fresh: Fresh) -> Home:
    return fresh(IMPORT)


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    mounted: list[Path] = []

    def mount(path: Path, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, path], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
        mounted.append(path)

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)  # a test may have done so


def compressed(home: Home) -> None:
    """Its size is known to nobody before it is there, so that no store can refuse it early."""
    path = home.directory / "image.raw"
    path.write_bytes(gzip.compress(path.read_bytes(), 1))


@needs_root
@pytest.mark.parametrize("size", ["4k", "64k", "128k"])
def test_a_disk_that_is_full_in_mid_import(server: ForkServer, home: Home, mount: Callable[..., None], size: str) -> None:
    mount(home.directory / "two", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    compressed(home)
    ended = server.run(with_config(IMPORT), home.directory)
    assert ended.code == 4
    assert ended.result["failed"]["two"]["error"] == "StoreFull"
    assert_told(ended, "store 'two'", os.strerror(errno.ENOSPC))
    home.assert_as_before()
    ended = server.run(with_config(BEST_EFFORT), home.directory)
    assert ended.code == 3
    assert list(ended.result["failed"]) == ["two"]
    home.assert_done(("one", "three"))


@needs_root
def test_a_disk_without_room_for_another_file(server: ForkServer, home: Home, mount: Callable[..., None]) -> None:
    """Bytes would be free."""
    mount(home.directory / "two", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs")
    ended = server.run(with_config(IMPORT), home.directory)
    assert (ended.code, ended.result["failed"]["two"]["error"]) == (4, "StoreFull")
    home.assert_as_before()


@needs_root
def test_a_disk_that_is_mounted_read_only(server: ForkServer, home: Home, mount: Callable[..., None]) -> None:
    """As a kernel does with a damaged one. While a file is written there it can't be done; a write's EROFS: store_calls."""
    mount(home.directory / "two", "-t", "tmpfs", "-o", "ro", "tmpfs")
    command = ("import", "image.raw", "--id", IMAGE_ID, "--store", "one", "--store", "two", "--json")
    ended = server.run(with_config(command), home.directory)
    assert (ended.code, ended.result["failed"]["two"]["error"]) == (4, "StoreDenied")
    home.assert_as_before()


def test_a_directory_that_is_renamed_in_mid_import(server: ForkServer, home: Home) -> None:
    """What was written is not gone: it is on record, also while nobody knows where the directory is."""
    away, two = home.directory / "away", home.directory / "two"
    with Meanwhile(home, lambda: two.rename(away)):
        ended = server.run(with_config(IMPORT), home.directory)
    assert ended.code == 5, ended
    assert_told(ended, "store 'two'", os.strerror(errno.ENOENT))
    assert [one["store"] for one in ended.result["leftovers"]] == ["two"]
    assert "is it mounted?" in ended.result["leftovers"][0]["reason"]
    ended = server.run(with_config(RECOVER), home.directory)
    assert (ended.code, len(ended.result["leftovers"])) == (5, 1), "it is still somewhere"
    away.rename(two)
    recover(server, home)
    home.assert_as_before()


def test_a_directory_that_another_has_taken_the_place_of(server: ForkServer, home: Home) -> None:
    away, two = home.directory / "away", home.directory / "two"

    def exchange() -> None:
        two.rename(away)
        two.mkdir()

    with Meanwhile(home, exchange):
        ended = server.run(with_config(IMPORT), home.directory)
    assert ended.code == 5, ended
    assert "not the directory any more that it was" in ended.result["leftovers"][0]["reason"]
    two.rmdir()
    away.rename(two)
    recover(server, home)
    home.assert_as_before()


@needs_root
def test_a_disk_that_is_unmounted_in_mid_import(server: ForkServer, home: Home, mount: Callable[..., None]) -> None:
    """Its empty mount point is there instead."""
    disk, two = home.directory / "disk", home.directory / "two"
    disk.mkdir()
    mount(two, "--bind", str(disk))
    with Meanwhile(home, lambda: subprocess.run(["umount", "--lazy", two], check=True)):
        ended = server.run(with_config(IMPORT), home.directory)
    assert ended.code == 5, ended
    assert [one["store"] for one in ended.result["leftovers"]] == ["two"]
    assert list(disk.iterdir())
    mount(two, "--bind", str(disk))
    recover(server, home)
    home.assert_as_before()


def test_a_directory_that_is_removed_in_mid_import(server: ForkServer, home: Home) -> None:
    """With all that is in it, so that there is nothing to remove any more; whether that is so nobody can tell."""
    two = home.directory / "two"

    def remove() -> None:
        for path in two.iterdir():
            path.unlink()
        two.rmdir()

    with Meanwhile(home, remove):
        ended = server.run(with_config(IMPORT), home.directory)
    assert ended.code == 5, ended
    two.mkdir()
    recover(server, home)
    home.assert_as_before()


@needs_root
def test_a_directory_that_is_closed_in_mid_import(server: ForkServer, home: Home) -> None:
    """To an ordinary user: what is there can't be made visible nor removed before it is opened again."""
    two = home.directory / "two"
    give_away(home)
    with Meanwhile(home, lambda: two.chmod(0o500)):
        os.chown(home.directory / "image.raw", NOBODY, NOBODY)
        ended = server.run(with_config(IMPORT), home.directory, user=NOBODY)
    assert ended.code == 5, ended
    assert_told(ended, "store 'two'", os.strerror(errno.EACCES))
    two.chmod(0o700)
    assert server.run(with_config(RECOVER), home.directory, user=NOBODY).code == 0
    home.assert_as_before()


@needs_root
def test_a_directory_that_was_never_open(server: ForkServer, home: Home) -> None:
    give_away(home)
    (home.directory / "two").chmod(0o500)
    command = ("import", "image.raw", "--id", IMAGE_ID, "--store", "one", "--store", "two", "--json")
    ended = server.run(with_config(command), home.directory, user=NOBODY)
    assert (ended.code, ended.result["failed"]["two"]["error"]) == (4, "StoreDenied")
    home.assert_as_before()
    ended = server.run(with_config(IMPORT), home.directory, user=NOBODY)
    assert ended.code == 0, ended
    assert "left out of all stores" in ended.result["notes"][0]
    home.assert_done(("one", "three"))


def give_away(home: Home) -> None:
    """All of it, and the way there; the directories are to be read afterwards by whoever runs the tests."""
    home.directory.parent.chmod(0o755)
    for path in (home.directory, *home.directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
