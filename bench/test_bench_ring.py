"""The engine without disk or digest: what a byte and what a lane cost, and what the scan of a slot costs beside its library."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import xxhash

from glance_stream.benchmark.measures import together
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DEFAULT_SLOTS, PAGE_SIZE, Lane, Ring, WriteLane

# The first bytes into a new ring pay for its memory, page by page. An image pays that once; this is about all the other bytes.
PASSES = 8


@pytest.mark.parametrize("lanes", [0, 1, 2, 4, 8])
def test_native_lanes(measure: Callable[..., Any], opened: Callable[[], Any], size: int, lanes: int) -> None:
    """Read from the page cache to lanes that discard without the GIL: the difference of two rows is the cost of the lanes."""

    def run() -> int:
        ring = Ring()
        with ExitStack() as stack:
            nowhere = [stack.enter_context(open(os.devnull, "wb", buffering=0)) for _ in range(lanes)]
            drains = [WriteLane(ring, file.fileno(), direct=False).run for file in nowhere]
            pour_again_and_again(stack.enter_context(opened()), ring, drains)
        return ring.produced

    assert measure("lanes that discard, native", run, PASSES * size) == PASSES * size


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_python_lanes(measure: Callable[..., Any], opened: Callable[[], Any], size: int, lanes: int) -> None:
    """The same with lanes read from Python, as an SDK's store reads them: one GIL for a slot and lane."""

    def run() -> int:
        ring = Ring()
        drains = [discarder(ring.lane()) for _ in range(lanes)]
        with opened() as fd:
            pour_again_and_again(fd, ring, drains)
        return ring.produced

    assert measure("lanes that discard, from Python", run, PASSES * size) == PASSES * size


def pour_again_and_again(fd: int, ring: Ring, drains: Sequence[Callable[[], None]]) -> None:
    def fill() -> None:
        for _ in range(PASSES):
            os.lseek(fd, 0, os.SEEK_SET)
            ring.fill_fd(fd)
        ring.finish()

    together([*drains, fill], ring.fail)


def discarder(lane: Lane) -> Callable[[], None]:
    def drain() -> None:
        for _ in lane:
            pass

    return drain


@pytest.mark.parametrize("content", ["random", "zeros"])
def test_publish(measure: Callable[..., Any], size: int, content: str) -> None:
    """Zero scan and fingerprint of slots that are there already. Random bytes end the zero scan at once, zeros never do."""
    slot = os.urandom(DEFAULT_SLOT_SIZE) if content == "random" else bytes(DEFAULT_SLOT_SIZE)
    ring = filled(slot)
    count = max(1, size // len(slot))

    def run() -> None:
        for _ in range(count):
            ring.reserve()
            ring.publish(len(slot))

    measure(f"fingerprint and zero scan, {content}", run, count * len(slot))
    assert ring.fingerprints()[-16:] == xxhash.xxh3_128_digest(slot)


def filled(slot: bytes) -> Ring:
    """Every slot of the ring holds the same bytes from now on."""
    ring = Ring()
    for _ in range(ring.slots):
        ring.reserve()[:] = slot
        ring.publish(len(slot))
    return ring


@pytest.mark.parametrize("content", ["random", "zeros"])
def test_xxhash_alone(measure: Callable[..., Any], size: int, content: str) -> None:
    """Over as many slots as a ring has, so that neither of the two finds its bytes in the CPU's cache."""
    slot = os.urandom(DEFAULT_SLOT_SIZE) if content == "random" else bytes(DEFAULT_SLOT_SIZE)
    slots = itertools.cycle([bytearray(slot) for _ in range(DEFAULT_SLOTS)])
    count = max(1, size // len(slot))

    def run() -> None:
        for _ in range(count):
            xxhash.xxh3_128_digest(next(slots))

    measure(f"fingerprint and zero scan, {content}", run, count * len(slot))


def test_new_ring(measure: Callable[..., Any]) -> None:
    """The memory of a ring, which every import takes anew: each of its pages is touched once."""

    def run() -> None:
        ring = Ring()
        for _ in range(ring.slots):
            with ring.reserve() as view:
                view[::PAGE_SIZE] = bytes(len(view) // PAGE_SIZE)
            ring.publish(ring.slot_size)

    measure("overhead", run)


def test_starting_eight_threads(measure: Callable[..., Any]) -> None:
    """What each of the runs above pays before its first byte."""
    measure("overhead", lambda: together([lambda: None] * 8, lambda: None))
