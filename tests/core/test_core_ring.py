"""The ring seen from its producer."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def ring(core):
    return core.Ring(2, core.PAGE_SIZE)


def publish(ring, length: int | None = None) -> None:
    ring.reserve()
    ring.publish(ring.slot_size if length is None else length)


def test_constants(core) -> None:
    assert core.PAGE_SIZE >= 4096
    assert core.PAGE_SIZE % 4096 == 0
    assert core.DEFAULT_SLOT_SIZE == 4 << 20
    assert core.DEFAULT_SLOTS == 8


def test_default_size(core) -> None:
    ring = core.Ring()
    assert (ring.slots, ring.slot_size) == (core.DEFAULT_SLOTS, core.DEFAULT_SLOT_SIZE)
    assert len(ring.reserve()) == core.DEFAULT_SLOT_SIZE


@pytest.mark.parametrize("slots", [-1, 0, 1])
def test_too_few_slots(core, slots: int) -> None:
    with pytest.raises(ValueError, match="slots"):
        core.Ring(slots, core.PAGE_SIZE)


@pytest.mark.parametrize("pages", [-1, 0, 0.5, 1.25])
def test_slot_size_is_whole_pages(core, pages: float) -> None:
    with pytest.raises(ValueError, match="slot_size"):
        core.Ring(2, int(core.PAGE_SIZE * pages))


@pytest.mark.parametrize(("slots", "slot_size"), [(2, 1 << 60), (4, (1 << 62) + 4096), (3, (1 << 63) - 4096), (1 << 50, 1 << 20)])
def test_more_than_there_is(core, slots: int, slot_size: int) -> None:
    """The product of the second pair is 16 KiB to a processor: such a ring once was made, and its slots lay outside its memory."""
    with pytest.raises(MemoryError, match="no memory for"):
        core.Ring(slots, slot_size)


def test_starts_empty(ring) -> None:
    assert (ring.produced, ring.failed, ring.finished, ring.fingerprints()) == (0, False, False, b"")


def test_reserved_memory_is_aligned_and_writable(core, ring) -> None:
    import ctypes

    for _ in range(5):
        view = ring.reserve()
        assert (view.readonly, view.format, view.ndim, view.contiguous) == (False, "B", 1, True)
        assert len(view) == ring.slot_size
        assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % core.PAGE_SIZE == 0
        ring.publish(ring.slot_size)


def test_the_memory_is_that_of_the_slots(core) -> None:
    """However long the stream and however far a lane is behind, the producer is given the same few places again and again."""
    import ctypes

    ring = core.Ring(3, core.PAGE_SIZE)
    lane = ring.lane()
    places = set()
    for number in range(20):
        places.add(ctypes.addressof(ctypes.c_char.from_buffer(ring.reserve())))
        ring.publish(ring.slot_size)
        if number >= 2:
            lane.take()
            lane.release()
    assert len(places) == 3
    assert max(places) - min(places) == 2 * ring.slot_size


def test_produced_counts_published_bytes(ring) -> None:
    publish(ring)
    assert ring.produced == ring.slot_size
    ring.reserve()
    assert ring.produced == ring.slot_size
    ring.publish(1)
    assert ring.produced == ring.slot_size + 1


@pytest.mark.parametrize("excess", [-1, 0, "size"])
def test_bad_lengths(ring, excess) -> None:
    ring.reserve()
    with pytest.raises(ValueError, match="length"):
        ring.publish(ring.slot_size + 1 if excess == "size" else excess)
    ring.publish(1)  # the slot is still reserved


def test_publish_without_reserve(ring) -> None:
    with pytest.raises(ValueError, match="reserve"):
        ring.publish(1)
    publish(ring)
    with pytest.raises(ValueError, match="reserve"):
        ring.publish(1)


def test_reserve_twice_is_the_same_slot(ring) -> None:
    ring.reserve()[0] = 7
    assert ring.reserve()[0] == 7
    ring.publish(1)
    assert ring.produced == 1


def test_a_short_slot_is_the_last(ring) -> None:
    ring.lane()
    publish(ring)
    publish(ring, ring.slot_size - 1)  # the ring is full now, but there is nothing to wait for
    with pytest.raises(ValueError, match="last"):
        ring.reserve()


def test_lanes_come_before_the_first_slot(core, ring) -> None:
    ring.lane()
    publish(ring, 1)
    for add in (ring.lane, lambda: core.Lane(ring), lambda: core.DigestLane(ring, "sha256"), lambda: core.WriteLane(ring, 0)):
        with pytest.raises(ValueError, match="lane"):
            add()


def test_reserve_waits_for_the_slowest_lane(ring, start) -> None:
    quick, slow = ring.lane(), ring.lane()
    for _ in range(2):
        publish(ring)
        quick.take()
        quick.release()
    reserve = start(ring.reserve)
    assert reserve.waits()
    slow.take()
    assert reserve.waits()  # taken is not let go
    slow.release()
    assert len(reserve.result()) == ring.slot_size


def test_without_lanes_nothing_waits(ring) -> None:
    for _ in range(10):
        publish(ring)
    assert ring.produced == 10 * ring.slot_size


def test_detaching_the_slowest_lane_frees_the_producer(ring, start) -> None:
    lane = ring.lane()
    publish(ring)
    publish(ring)
    lane.take()
    reserve = start(ring.reserve)
    assert reserve.waits()
    lane.detach()
    reserve.result()


def test_fail_stops_a_waiting_producer(core, ring, start) -> None:
    ring.lane()
    publish(ring)
    publish(ring)
    reserve = start(ring.reserve)
    assert reserve.waits()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        reserve.result()
    with pytest.raises(core.LaneStopped):
        ring.reserve()


def test_publish_after_fail(core, ring) -> None:
    """A producer that was reading when the ring failed must not add to a stream that will never be whole."""
    ring.reserve()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        ring.publish(1)
    assert ring.produced == 0


def test_nothing_is_added_to_a_finished_stream(ring) -> None:
    """A lane that has seen the end would miss it."""
    ring.reserve()
    ring.finish()
    with pytest.raises(ValueError, match="finished"):
        ring.publish(1)
    with pytest.raises(ValueError, match="finished"):
        ring.reserve()
    assert ring.produced == 0


def test_finish_and_fail_are_idempotent(ring) -> None:
    ring.finish()
    ring.finish()
    assert (ring.finished, ring.failed) == (True, False)
    ring.fail()
    ring.fail()
    assert (ring.finished, ring.failed) == (False, True)
    ring.finish()
    assert (ring.finished, ring.failed) == (False, True)
