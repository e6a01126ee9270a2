"""Filling the ring from a descriptor."""

from __future__ import annotations

import errno
import os
import random
import socket

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(60)

STREAM = random.Random(5).randbytes(300_000)


def fingerprints(stream: bytes, slot_size: int) -> bytes:
    return b"".join(xxhash.xxh3_128_digest(stream[at : at + slot_size]) for at in range(0, len(stream), slot_size))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 16384, 100_001])
def test_regular_file(core, start, drain, tmp_path, size: int) -> None:
    (tmp_path / "source").write_bytes(STREAM[:size])
    ring = core.Ring(2, 2 * core.PAGE_SIZE)
    read = start(drain, ring.lane())
    with (tmp_path / "source").open("rb") as source:
        assert start(ring.fill_fd, source.fileno()).result() == size
    assert not ring.finished
    assert ring.produced == size
    ring.finish()
    assert read.result() == STREAM[:size]


def test_from_the_present_position(core, start, drain, tmp_path) -> None:
    (tmp_path / "source").write_bytes(STREAM)
    ring = core.Ring(2, core.PAGE_SIZE)
    read = start(drain, ring.lane())
    with (tmp_path / "source").open("rb", buffering=0) as source:
        source.seek(1000)
        assert start(ring.fill_fd, source.fileno()).result() == len(STREAM) - 1000
    ring.finish()
    assert read.result() == STREAM[1000:]


@settings(max_examples=30, deadline=None)
@given(prefix=st.integers(0, 20_000), size=st.integers(0, 100_000), pages=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_pipe_with_prefix(core, start, drain, prefix: int, size: int, pages: int, seed: int) -> None:
    """Whatever the pipe's chunks, slots come out full, the last one excepted."""
    ring = core.Ring(2, pages * core.PAGE_SIZE)
    plain, lengths = ring.lane(), ring.lane()
    read_end, write_end = os.pipe()

    def write() -> None:
        chunks = random.Random(seed)
        rest = memoryview(STREAM)[prefix : prefix + size]
        with open(write_end, "wb", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest[: chunks.choice([1, 100, 4095, 4096, 4097, 30_000])]) :]

    calls = start(drain, plain), start(lambda: [slot.length for slot in lengths]), start(write)
    with open(read_end, "rb", buffering=0) as source:
        assert start(ring.fill_fd, source.fileno(), STREAM[:prefix]).result() == prefix + size
    ring.finish()
    content, sizes, _ = [call.result() for call in calls]
    assert content == STREAM[: prefix + size]
    assert set(sizes[:-1]) <= {ring.slot_size}


def test_two_sources_in_turn(core, start, drain, tmp_path) -> None:
    """After a source that ends with a slot the ring takes another, and counts its bytes alone."""
    (tmp_path / "source").write_bytes(STREAM[:8192])
    ring = core.Ring(3, core.PAGE_SIZE * 2)
    read = start(drain, ring.lane())
    for _ in range(2):
        with (tmp_path / "source").open("rb", buffering=0) as source:
            assert start(ring.fill_fd, source.fileno()).result() == 8192
    ring.reserve()[:3] = b"end"
    ring.publish(3)
    ring.finish()
    assert read.result() == STREAM[:8192] * 2 + b"end"


def test_without_lanes_nothing_waits(core, start, tmp_path) -> None:
    """Nobody lets slots go, and the stream is many times the ring."""
    (tmp_path / "source").write_bytes(STREAM)
    ring = core.Ring(2, core.PAGE_SIZE)
    with (tmp_path / "source").open("rb", buffering=0) as source:
        assert start(ring.fill_fd, source.fileno()).result() == len(STREAM)
    assert ring.fingerprints() == fingerprints(STREAM, ring.slot_size)


def test_the_last_lane_leaves(core, start, tmp_path) -> None:
    """Nor does anybody once it has gone, whatever it held."""
    (tmp_path / "source").write_bytes(STREAM)
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = ring.lane()
    with (tmp_path / "source").open("rb", buffering=0) as source:
        fill = start(ring.fill_fd, source.fileno())
        lane.take()
        lane.detach()
        assert fill.result() == len(STREAM)


def test_an_error_after_whole_slots(core, start, drain) -> None:
    """All that was read whole before it is published, and the ring can be gone on with."""
    ring = core.Ring(3, core.PAGE_SIZE)
    read = start(drain, ring.lane())
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(STREAM[: 10 * ring.slot_size + 5])
            ours.sendall(b"never read")  # so that closing it resets the connection
        with pytest.raises(ConnectionResetError):
            start(ring.fill_fd, ours.fileno()).result()
    assert ring.produced == 10 * ring.slot_size
    ring.reserve()[:3] = b"end"
    ring.publish(3)
    ring.finish()
    assert read.result() == STREAM[: 10 * ring.slot_size] + b"end"


@pytest.mark.parametrize("lanes", [0, 1, 3])
def test_more_slots_than_the_ring_has(core, start, drain, tmp_path, lanes: int) -> None:
    """Fingerprints and zero slots are those of the bytes, however the work is shared out."""
    stream = STREAM[:50_000] + bytes(100_000) + STREAM[50_000:]
    (tmp_path / "source").write_bytes(stream)
    ring = core.Ring(3, 2 * core.PAGE_SIZE)
    reads = [start(drain, ring.lane()) for _ in range(lanes)]
    with (tmp_path / "source").open("rb", buffering=0) as source:
        assert start(ring.fill_fd, source.fileno()).result() == len(stream)
    ring.finish()
    assert [read.result() for read in reads] == [stream] * lanes
    assert ring.fingerprints() == fingerprints(stream, ring.slot_size)


def test_nothing_after_a_short_slot(core, tmp_path) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    (tmp_path / "source").write_bytes(b"abc")
    with (tmp_path / "source").open("rb") as source:
        assert ring.fill_fd(source.fileno()) == 3
        with pytest.raises(ValueError, match="last"):
            ring.fill_fd(source.fileno())
    assert ring.produced == 3


def test_what_was_reserved_is_used_up(core, tmp_path) -> None:
    """Or the publish that follows would hand out a slot that lanes still hold."""
    ring = core.Ring(2, core.PAGE_SIZE)
    (tmp_path / "source").write_bytes(bytes(core.PAGE_SIZE))
    ring.reserve()
    with (tmp_path / "source").open("rb") as source:
        assert ring.fill_fd(source.fileno()) == core.PAGE_SIZE
    with pytest.raises(ValueError, match="reserve"):
        ring.publish(1)


def test_finished_ring(core, tmp_path) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    (tmp_path / "source").write_bytes(b"abc")
    ring.finish()
    with (tmp_path / "source").open("rb") as source, pytest.raises(ValueError, match="finished"):
        ring.fill_fd(source.fileno())


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("head", [b"", b"abc"])
def test_fail_breaks_it_on_an_empty_pipe(core, start, pipe, head: bytes, blocking: bool) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    os.set_blocking(pipe[0], blocking)
    os.write(pipe[1], head)
    fill = start(ring.fill_fd, pipe[0])
    assert fill.waits()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        fill.result(timeout=15)
    assert ring.produced == 0


def test_fail_breaks_it_on_a_full_ring(core, start) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    ring.lane()
    with open("/dev/zero", "rb", buffering=0) as source:
        fill = start(ring.fill_fd, source.fileno())
        while ring.produced < 2 * ring.slot_size:
            pass
        assert fill.waits()
        ring.fail()
        with pytest.raises(core.LaneStopped):
            fill.result(timeout=15)
    assert ring.produced == 2 * ring.slot_size


def test_fail_breaks_it_on_an_endless_source(core, start) -> None:
    """With no lane nothing else would ever stop it."""
    ring = core.Ring(2, core.PAGE_SIZE)
    with open("/dev/zero", "rb", buffering=0) as source:
        fill = start(ring.fill_fd, source.fileno())
        while not ring.produced:
            pass
        ring.fail()
        with pytest.raises(core.LaneStopped):
            fill.result(timeout=15)


def test_a_failed_ring_reads_nothing(core, tmp_path) -> None:
    (tmp_path / "source").write_bytes(STREAM)
    ring = core.Ring(2, core.PAGE_SIZE)
    ring.fail()
    with (tmp_path / "source").open("rb", buffering=0) as source:
        with pytest.raises(core.LaneStopped):
            ring.fill_fd(source.fileno())
        assert source.tell() == 0


def test_errors_of_the_descriptor(core, start, tmp_path, pipe) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    closed = os.dup(directory)
    os.close(closed)
    for fd, number in ((directory, errno.EISDIR), (closed, errno.EBADF), (-1, errno.EBADF), (pipe[1], errno.EBADF)):
        ring = core.Ring(2, core.PAGE_SIZE)
        with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is what matters)
            start(ring.fill_fd, fd).result(timeout=15)
        assert caught.value.errno == number
        assert ring.produced == 0
        assert not ring.failed  # whoever drives the ring decides what the error means
    os.close(directory)


def test_a_closed_writer_is_the_end(core, pipe) -> None:
    os.close(pipe[1])
    ring = core.Ring(2, core.PAGE_SIZE)
    assert ring.fill_fd(pipe[0]) == 0
    assert ring.fill_fd(pipe[0], b"prefix") == 6


def test_what_the_ring_refuses_comes_before_what_the_descriptor_does(core) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    ring.reserve()
    ring.publish(1)
    with pytest.raises(ValueError, match="last"):
        ring.fill_fd(-1)
    ring = core.Ring(2, core.PAGE_SIZE)
    ring.reserve()
    with pytest.raises(OSError, match="Bad file descriptor"):
        ring.fill_fd(-1)
    with pytest.raises(ValueError, match="reserve"):
        ring.publish(1)
    ring.fail()
    with pytest.raises(core.LaneStopped):
        ring.fill_fd(-1)
