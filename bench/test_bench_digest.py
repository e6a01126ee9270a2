"""Our digest lanes beside hashlib, on the same file in the page cache, reading included in both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from glance_stream.benchmark.measures import pour
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DigestLane, Ring

ALGORITHMS = {"sha512": "sha512", "sha256": "sha256", "md5": "md5", "blake2b512": "blake2b"}  # OpenSSL's name: hashlib's
SETS = [*((name,) for name in ALGORITHMS), ("sha512", "md5")]

names = pytest.mark.parametrize("names", SETS, ids="+".join)


@names
def test_lane(measure: Callable[..., Any], opened: Callable[[], Any], size: int, names: tuple[str, ...]) -> None:
    def run() -> list[str]:
        ring = Ring()
        lanes = [DigestLane(ring, name) for name in names]
        with opened() as fd:
            pour(fd, ring, [lane.run for lane in lanes])
        return [lane.hexdigest() for lane in lanes]

    with opened() as fd:
        assert measure(f"digest {'+'.join(names)}", run, size) == by_hashlib(fd, names)


@names
def test_hashlib(measure: Callable[..., Any], opened: Callable[[], Any], size: int, names: tuple[str, ...]) -> None:
    """One loop on one thread, as a script does it and as Glance does."""

    def run() -> list[str]:
        with opened() as fd:
            return by_hashlib(fd, names)

    measure(f"digest {'+'.join(names)}", run, size)


def by_hashlib(fd: int, names: tuple[str, ...]) -> list[str]:
    digests = [hashlib.new(ALGORITHMS[name], usedforsecurity=False) for name in names]
    buffer = memoryview(bytearray(DEFAULT_SLOT_SIZE))
    while count := os.readv(fd, [buffer]):
        for digest in digests:
            digest.update(buffer[:count])
    return [digest.hexdigest() for digest in digests]
