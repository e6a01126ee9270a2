"""A WriteLane over a file that has some of the stream already: the same bytes of it, and no more writes than needed."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(60)

PAGE = 4096
SLOT = 32 * PAGE
STREAM = random.Random(4).randbytes(2 * SLOT) + bytes(2 * SLOT) + random.Random(5).randbytes(3 * SLOT + 777)
SLOTS = 8


@pytest.fixture(scope="module", params=["disk", "memory"])
def place(request, tmp_path_factory) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path_factory.mktemp("held")
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            yield Path(directory)


def write(core, start, feed, fd: int, stream: bytes, **how) -> int:
    """The bytes that were kept."""
    ring = core.Ring(3, SLOT)
    lane = core.WriteLane(ring, fd, **how)
    run = start(lane.run)
    start(feed, ring, stream).result()
    run.result()
    assert lane.position == len(stream)
    return lane.kept


def over(core, start, feed, path: Path, before: bytes, stream: bytes, **how) -> int:
    """Write the stream over a file that holds ``before``; the bytes that were kept."""
    path.unlink(missing_ok=True)
    path.write_bytes(before)
    fd = os.open(path, os.O_RDWR)
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        kept = write(core, start, feed, fd, stream, **{"held": len(before), **how})
        assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags
    finally:
        os.close(fd)
    assert path.read_bytes() == stream
    return kept


def test_nothing_is_written_where_all_is_there(core, start, feed) -> None:
    """A sealed file refuses every write."""
    fd = os.memfd_create("held", os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, STREAM)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        assert write(core, start, feed, fd, STREAM, held=len(STREAM)) == len(STREAM)
        with pytest.raises(PermissionError):
            write(core, start, feed, fd, STREAM)
        with pytest.raises(PermissionError):
            write(core, start, feed, fd, STREAM[:-1] + b"?", held=len(STREAM))
    finally:
        os.close(fd)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
@pytest.mark.parametrize("thin", [True, False], ids=["thin", "full"])
@pytest.mark.parametrize("cut", [0, 1, PAGE, SLOT - 1, SLOT, SLOT + 1, 3 * SLOT, 5 * SLOT + 9, len(STREAM) - 1, len(STREAM)])
def test_whole_slots_before_a_cut_are_kept(core, start, feed, place, cut: int, thin: bool, direct: bool) -> None:
    kept = over(core, start, feed, place / core.__name__, STREAM[:cut], STREAM, thin=thin, direct=direct)
    assert kept == (cut if cut == len(STREAM) else cut - cut % SLOT)


@pytest.mark.parametrize("thin", [True, False], ids=["thin", "full"])
def test_one_that_is_longer_is_cut(core, start, feed, place, thin: bool) -> None:
    assert over(core, start, feed, place / core.__name__, STREAM + bytes(SLOT) + b"more", STREAM, thin=thin) == len(STREAM)


def test_without_held_all_is_written(core, start, feed, place) -> None:
    assert over(core, start, feed, place / core.__name__, STREAM, STREAM, held=0) == 0


def test_what_lies_beyond_held_is_not_looked_at(core, start, feed, place) -> None:
    noise = random.Random(6).randbytes(len(STREAM))
    before = STREAM[: 2 * SLOT] + noise[2 * SLOT :]
    assert over(core, start, feed, place / core.__name__, before, STREAM, held=SLOT, thin=True) == SLOT


def test_a_held_that_is_too_large_does_no_harm(core, start, feed, place) -> None:
    assert over(core, start, feed, place / core.__name__, STREAM[:SLOT], STREAM, held=1 << 40, thin=True) >= SLOT


def test_holes_are_filled_unless_thin(core, start, feed, tmp_path) -> None:
    """What was begun thin and is to be whole now."""
    path = tmp_path / "image"
    for thin, blocks in ((True, 0), (False, 4 * SLOT // 512)):
        path.write_bytes(b"")
        os.truncate(path, 4 * SLOT)
        with path.open("r+b") as file:
            kept = write(core, start, feed, file.fileno(), bytes(4 * SLOT), held=4 * SLOT, thin=thin)
        assert path.stat().st_blocks == blocks
        assert kept == (4 * SLOT if thin else 0)
        assert path.read_bytes() == bytes(4 * SLOT)


def test_a_descriptor_that_can_not_be_read_is_written(core, start, feed, place) -> None:
    path = place / core.__name__
    path.write_bytes(STREAM)
    fd = os.open(path, os.O_WRONLY)
    try:
        assert write(core, start, feed, fd, STREAM, held=len(STREAM)) == 0
    finally:
        os.close(fd)
    assert path.read_bytes() == STREAM


def test_held_is_not_negative(core, place) -> None:
    with (place / core.__name__).open("wb") as file, pytest.raises(ValueError, match="held"):
        core.WriteLane(core.Ring(2, SLOT), file.fileno(), held=-1)


@settings(max_examples=60, deadline=None)
@given(
    cut=st.integers(0, len(STREAM) + SLOT),
    damage=st.lists(st.tuples(st.integers(0, len(STREAM)), st.integers(1, 2 * SLOT), st.booleans()), max_size=3),
    thin=st.booleans(),
    direct=st.booleans(),
)
def test_same_bytes_whatever_was_there(core, start, feed, tmp_path_factory, cut, damage, thin, direct) -> None:
    """Damage: runs of zeros, as after a power loss, or of noise. What is kept is what is whole and right, slot by slot."""
    before = bytearray((STREAM + bytes(SLOT))[:cut])
    for at, length, zeros in damage:
        run = min(length, max(0, cut - at))
        before[at : at + run] = bytes(run) if zeros else random.Random(at).randbytes(run)
    path = tmp_path_factory.getbasetemp() / f"held-{core.__name__}"
    kept = over(core, start, feed, path, bytes(before), STREAM, thin=thin, direct=direct)
    right = [
        len(piece)
        for at in range(0, len(STREAM), SLOT)
        if (piece := STREAM[at : at + SLOT]) == before[at : at + len(piece)] and at + len(piece) <= cut
    ]
    assert kept == sum(right)
