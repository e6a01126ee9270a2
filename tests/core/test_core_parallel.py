"""Many rings and lanes at the same time, and nothing left of them afterwards."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import subprocess
import sys
import threading

import pytest

pytestmark = pytest.mark.timeout(60)

STREAM = random.Random(21).randbytes(25 * 4096 + 17)
EXPECTED = hashlib.sha256(STREAM).hexdigest()


def test_rings_side_by_side(core, start, feed, drain) -> None:
    """All threads leave the barrier at once, each with work for a lane or a producer."""
    rings = [core.Ring(2 + n % 3, core.PAGE_SIZE) for n in range(8)]
    digests = [core.DigestLane(ring, "sha256") for ring in rings for _ in range(2)]
    plain = [ring.lane() for ring in rings]
    barrier = threading.Barrier(len(rings) + len(digests) + len(plain))

    def together(fn, *args):
        barrier.wait(10)
        return fn(*args)

    runs = [start(together, lane.run) for lane in digests]
    reads = [start(together, drain, lane) for lane in plain]
    feeds = [start(together, feed, ring, STREAM) for ring in rings]
    for call in (*feeds, *runs):
        call.result()
    assert [read.result() for read in reads] == [STREAM] * len(rings)
    assert {lane.hexdigest() for lane in digests} == {EXPECTED}


def test_everybody_ends_the_same_ring(core, start) -> None:
    """finish, fail and detach collide with waiting lanes and a waiting producer: each of them returns or is stopped."""
    for _ in range(50):
        ring = core.Ring(2, core.PAGE_SIZE)
        lanes = [core.DigestLane(ring, "sha256") for _ in range(3)]
        barrier = threading.Barrier(7)

        def together(fn, barrier=barrier):
            barrier.wait(10)
            return fn()

        def produce(ring=ring) -> None:
            for _ in range(5):
                ring.reserve()
                ring.publish(ring.slot_size)

        calls = [start(together, fn) for fn in (*[lane.run for lane in lanes], produce, ring.fail, ring.finish, lanes[0].detach)]
        for call in calls:
            call.thread.join(10)
            assert not call.thread.is_alive()
            assert call.error is None or isinstance(call.error, (core.LaneStopped, ValueError))
        assert ring.failed


def test_lanes_may_be_added_from_many_threads(core, start, feed) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    barrier = threading.Barrier(12)

    def add():
        barrier.wait(10)
        return core.DigestLane(ring, "sha256")

    lanes = [call.result() for call in [start(add) for _ in range(12)]]
    runs = [start(lane.run) for lane in lanes]
    start(feed, ring, STREAM).result()
    for run in runs:
        run.result()
    assert {lane.hexdigest() for lane in lanes} == {EXPECTED}


def memory_maps() -> tuple[int, int]:
    """How many writable ones there are, and their bytes altogether. What malloc keeps in reserve for threads isn't writable."""
    with open("/proc/self/maps") as lines:
        spans = [line.split()[0].split("-") for line in lines if " rw" in line]
    return len(spans), sum(int(end, 16) - int(begin, 16) for begin, end in spans)


def use_and_drop(core, start) -> None:
    ring = core.Ring(4, 256 * core.PAGE_SIZE)  # 4 MiB of address space, of which little is touched
    lanes = [ring.lane(), core.DigestLane(ring, "sha256")]
    run = start(lanes[1].run)
    ring.reserve()
    ring.publish(1)
    lanes[0].take()
    ring.finish()
    run.result()


def test_joining_while_the_first_slot_is_published(core, start) -> None:
    """Which lanes are in time is chance; those see the stream from its first byte. `make sanitize` tells whether it is luck."""

    def join() -> None:
        while True:
            lanes.append(ring.lane())

    for _ in range(20):
        ring = core.Ring(2, core.PAGE_SIZE)
        lanes = []
        with open("/dev/zero", "rb", buffering=0) as source:
            fill = start(ring.fill_fd, source.fileno())
            with pytest.raises(ValueError, match="join"):
                join()
            assert all(lane.take().offset == 0 for lane in lanes)
            ring.fail()
            with pytest.raises(core.LaneStopped):
                fill.result()


def test_dropped_rings_leave_nothing(core, start) -> None:
    for _ in range(5):
        use_and_drop(core, start)
    gc.collect()
    threads, (maps, size) = threading.active_count(), memory_maps()
    for _ in range(200):
        use_and_drop(core, start)
    gc.collect()
    maps_after, size_after = memory_maps()
    assert maps_after - maps < 50  # 200 rings would be 200 maps, or 800 MiB in fewer
    assert size_after - size < 200 << 20
    assert threading.active_count() <= threads


def test_rings_half_used_leave_nothing(core) -> None:
    """Dropped in the middle: reserved, published, taken, failed, or never used at all."""
    before = memory_maps()[1]
    for step in range(200):
        ring = core.Ring(2, 512 * core.PAGE_SIZE)
        lane = core.WriteLane(ring, -1) if step % 2 else ring.lane()
        with pytest.raises(core.DigestRefused):
            core.DigestLane(ring, "md6")
        if step % 5:
            ring.reserve()
        if step % 5 > 1:
            ring.publish(5)
        if step % 5 > 2:
            lane.take()
        if step % 5 > 3:
            ring.fail()
        del ring, lane
    gc.collect()
    assert memory_maps()[1] - before < 200 << 20


EXIT = """
import importlib, os, sys, threading
core = importlib.import_module(sys.argv[1])
ring = core.Ring(2, core.PAGE_SIZE)
for lane in (core.DigestLane(ring, "sha256"), core.WriteLane(ring, os.open(os.devnull, os.O_WRONLY))):
    threading.Thread(target=lane.run, daemon=True).start()
threading.Thread(target=ring.fill_fd, args=(os.pipe()[0],), daemon=True).start()
print("end")
"""


def test_waiting_lanes_dont_keep_the_process(core) -> None:
    """A process that ends while daemon threads wait in the core ends at once, and cleanly."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", EXIT, core.__name__], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("end\n", "")
