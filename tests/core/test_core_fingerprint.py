"""What the ring finds out about each slot: its fingerprint, and whether it is all zero."""

from __future__ import annotations

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(60)


def publish(ring, content: bytes) -> None:
    ring.reserve()[: len(content)] = content
    ring.publish(len(content))


# xxh3 changes its method at 16, 128 and 240 bytes, and works in stripes of 64 and blocks of 1024 beyond.
@pytest.mark.parametrize("length", [1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1023, 1024, 1025, 4095, 4096])
def test_fingerprint(core, length: int) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = ring.lane()
    content = bytes(range(1, 256)) * 17
    publish(ring, content[:length])
    assert lane.take().fingerprint == xxhash.xxh3_128_digest(content[:length])
    assert ring.fingerprints() == xxhash.xxh3_128_digest(content[:length])


@settings(deadline=None)
@given(content=st.binary(min_size=1, max_size=5 * 4096), pages=st.integers(1, 2))
def test_fingerprints_are_those_of_each_slot(core, content: bytes, pages: int) -> None:
    ring = core.Ring(2, pages * core.PAGE_SIZE)
    parts = [content[at : at + ring.slot_size] for at in range(0, len(content), ring.slot_size)]
    for number, part in enumerate(parts):
        assert len(ring.fingerprints()) == 16 * number
        publish(ring, part)
    assert ring.fingerprints() == b"".join(map(xxhash.xxh3_128_digest, parts))


def test_many_fingerprints(core) -> None:
    """More than one growth of whatever they are kept in."""
    ring = core.Ring(2, core.PAGE_SIZE)
    expected = []
    for number in range(2000):
        content = number.to_bytes(4, "big") * (ring.slot_size // 4)
        publish(ring, content)
        expected.append(xxhash.xxh3_128_digest(content))
    assert ring.fingerprints() == b"".join(expected)


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 33, 4095, 4096, 8191, 8192])
def test_zero(core, length: int) -> None:
    ring = core.Ring(2, 2 * core.PAGE_SIZE)
    lane = ring.lane()
    ring.reserve()[:] = b"\0" * length + b"x" * (ring.slot_size - length)  # what follows the slot's bytes is none of its own
    ring.publish(length)
    assert lane.take().zero is True


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 4096, 4097, 8191, 8192])
def test_one_byte_at_an_edge(core, length: int) -> None:
    """First, last, and on both sides of where a scan may be cut in two."""
    for at in sorted({0, length - 1} | {at for at in (15, 16, 17, 4095, 4096, 4097) if at < length}):
        ring = core.Ring(2, 2 * core.PAGE_SIZE)
        lane = ring.lane()
        publish(ring, bytes(at) + b"\1" + bytes(length - at - 1))
        assert lane.take().zero is False


@given(st.data())
def test_one_byte_makes_it_not_zero(core, data: st.DataObject) -> None:
    ring = core.Ring(2, 2 * core.PAGE_SIZE)
    lane = ring.lane()
    length = data.draw(st.integers(1, ring.slot_size))
    at = data.draw(st.sampled_from([0, length - 1]) | st.integers(0, length - 1))
    content = bytearray(length)
    content[at] = data.draw(st.integers(1, 255))
    publish(ring, content)
    assert lane.take().zero is False


def test_zero_is_found_anew_for_each_slot(core) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = ring.lane()
    flags = []
    for fill in b"\0a\0\0bb\0":
        publish(ring, bytes([fill]) * ring.slot_size)
        flags.append(lane.take().zero)
        lane.release()
    assert flags == [True, False, True, True, False, False, True]
