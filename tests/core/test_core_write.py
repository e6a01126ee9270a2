"""What a WriteLane leaves in the file, in every mode."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(60)

PAGE = 4096
SLOT = 32 * PAGE
SIZES = [0, 1, PAGE - 1, PAGE, PAGE + 1, SLOT - 1, SLOT, SLOT + 1, 11 * SLOT, 11 * SLOT + PAGE, 11 * SLOT + 12_345]
NOISE = random.Random(8).randbytes(12 * SLOT)
GRAIN = 64 << 10  # zero blocks of this size become holes


@pytest.fixture(scope="module", params=["disk", "memory"])
def place(request, tmp_path_factory):
    """A directory on the disk's file system, and one on tmpfs: they differ in the modes they take."""
    if request.param == "disk":
        yield tmp_path_factory.mktemp("write")
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            yield Path(directory)


def write(core, start, feed, path: Path, stream: bytes, **how: bool):
    """Write the stream; returns the lane, and whether the descriptor's flags are as they were."""
    ring = core.Ring(3, SLOT)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        before = fcntl.fcntl(fd, fcntl.F_GETFL)
        lane = core.WriteLane(ring, fd, **how)
        run = start(lane.run)
        start(feed, ring, stream).result()
        run.result()
        assert lane.position == len(stream)
        return lane, before == fcntl.fcntl(fd, fcntl.F_GETFL)
    finally:
        os.close(fd)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
@pytest.mark.parametrize("thin", [True, False], ids=["thin", "full"])
@pytest.mark.parametrize("size", SIZES)
def test_bytes_are_exact(core, start, feed, place, size: int, thin: bool, direct: bool) -> None:
    path = place / f"{core.__name__}-{size}-{thin}-{direct}"
    lane, _ = write(core, start, feed, path, NOISE[:size], thin=thin, direct=direct)
    assert path.read_bytes() == NOISE[:size]
    assert lane.mode in (("direct", "dontcache", "paced") if direct else ("dontcache", "paced"))


@pytest.mark.parametrize("size", [0, PAGE, PAGE + 1, 5 * SLOT, 5 * SLOT + 1])
def test_the_descriptors_flags_are_put_back(core, start, feed, place, size: int) -> None:
    """Its owner's later writes must not fail for lack of alignment."""
    _, same = write(core, start, feed, place / f"{core.__name__}-flags", NOISE[:size])
    assert same


def takes_direct(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


def takes_dontcache(path: Path) -> bool:
    with path.open("wb") as file:
        try:
            os.pwritev(file.fileno(), [b"x"], 0, 0x80)
        except OSError:
            return False
        return True


def test_the_best_mode_is_taken(core, start, feed, place) -> None:
    """What the file system takes is found out apart from the core: a core that fell back for no reason would only be slow."""
    path = place / f"{core.__name__}-mode"
    buffered = "dontcache" if takes_dontcache(path) else "paced"
    best = "direct" if takes_direct(path) else buffered
    for size in (SLOT, 5 * SLOT + PAGE):
        assert write(core, start, feed, path, NOISE[:size])[0].mode == best
        assert write(core, start, feed, path, NOISE[:size], direct=False)[0].mode == buffered


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_each_mode_gives_way_to_the_next(core, start, feed, direct: bool) -> None:
    """A character device takes neither O_DIRECT nor RWF_DONTCACHE, has nothing to write back and no size to set."""
    lane, same = write(core, start, feed, Path("/dev/null"), NOISE, direct=direct)
    assert lane.mode == "paced"
    assert same


@pytest.mark.parametrize("thin", [True, False], ids=["thin", "full"])
@pytest.mark.parametrize("size", SIZES)
def test_a_longer_file_is_cut(core, start, feed, tmp_path, size: int, thin: bool) -> None:
    path = tmp_path / "image"
    path.write_bytes(NOISE + b"more")
    write(core, start, feed, path, NOISE[:size], thin=thin)
    assert path.read_bytes() == NOISE[:size]


def test_holes_do_not_show_what_was_there(core, start, feed, place) -> None:
    path = place / f"{core.__name__}-old"
    path.write_bytes(NOISE)
    stream = bytes(4 * SLOT) + NOISE[:GRAIN] + bytes(3 * GRAIN + 5)
    write(core, start, feed, path, stream, thin=True)
    assert path.read_bytes() == stream


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_thin_leaves_holes(core, start, feed, place, direct: bool) -> None:
    """Whole zero slots, zero blocks within a slot, and a zero end."""
    stream = NOISE[:GRAIN] + bytes(GRAIN) + bytes(4 * SLOT) + bytes(GRAIN) + NOISE[:GRAIN] + bytes(2 * SLOT + 777)
    thin, full = place / f"{core.__name__}-{direct}-thin", place / f"{core.__name__}-{direct}-full"
    write(core, start, feed, thin, stream, thin=True, direct=direct)
    write(core, start, feed, full, stream, thin=False, direct=direct)
    assert thin.read_bytes() == full.read_bytes() == stream
    for path in (thin, full):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # blocks are given out when the pages go to the disk
    assert full.stat().st_blocks * 512 >= len(stream)
    assert 2 * GRAIN <= thin.stat().st_blocks * 512 <= 2 * GRAIN + 4 * PAGE


def test_all_zero_is_all_hole(core, start, feed, place) -> None:
    path = place / f"{core.__name__}-zero"
    write(core, start, feed, path, bytes(5 * SLOT + 1), thin=True)
    assert path.stat().st_size == 5 * SLOT + 1
    assert path.stat().st_blocks == 0


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.booleans(), st.sampled_from([1, 511, PAGE, GRAIN - 1, GRAIN, GRAIN + 1, SLOT])), max_size=12),
    thin=st.booleans(),
    direct=st.booleans(),
)
def test_any_mix_of_zeros(core, start, feed, place, blocks, thin: bool, direct: bool) -> None:
    stream = b"".join(bytes(length) if zero else NOISE[:length] for zero, length in blocks)
    path = place / f"{core.__name__}-mix"
    path.unlink(missing_ok=True)
    write(core, start, feed, path, stream, thin=thin, direct=direct)
    assert path.read_bytes() == stream


def test_slots_smaller_than_a_hole(core, start, feed, tmp_path) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    stream = b"".join(bytes(core.PAGE_SIZE) if n % 3 else NOISE[: core.PAGE_SIZE] for n in range(40)) + b"tail"
    with (tmp_path / "image").open("wb") as file:
        run = start(core.WriteLane(ring, file.fileno(), thin=True).run)
        start(feed, ring, stream).result()
        run.result()
    assert (tmp_path / "image").read_bytes() == stream


def test_many_lanes_write_many_files(core, start, feed, tmp_path) -> None:
    ring = core.Ring(3, SLOT)
    files = [(tmp_path / str(n)).open("wb") for n in range(6)]
    lanes = [core.WriteLane(ring, file.fileno(), thin=n % 2 == 0, direct=n < 3) for n, file in enumerate(files)]
    runs = [start(lane.run) for lane in lanes]
    start(feed, ring, NOISE).result()
    for run, file in zip(runs, files, strict=True):
        run.result()
        file.close()
    assert all((tmp_path / str(n)).read_bytes() == NOISE for n in range(6))


def test_the_descriptor_is_left_at_its_owners_position(core, start, feed, tmp_path) -> None:
    with (tmp_path / "image").open("wb", buffering=0) as file:
        file.write(b"old")
        ring = core.Ring(2, core.PAGE_SIZE)
        run = start(core.WriteLane(ring, file.fileno()).run)
        start(feed, ring, b"new bytes").result()
        run.result()
        assert file.tell() == 3
    assert (tmp_path / "image").read_bytes() == b"new bytes"
