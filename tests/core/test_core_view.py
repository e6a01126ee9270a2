"""Who may read a slot's bytes, and until when."""

from __future__ import annotations

import gc
import hashlib

import pytest

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def ring(core):
    return core.Ring(2, core.PAGE_SIZE)


@pytest.fixture
def lane(ring):
    lane = ring.lane()
    for fill in b"ab":
        ring.reserve()[:] = bytes([fill]) * ring.slot_size
        ring.publish(ring.slot_size)
    return lane


def test_a_view_is_read_only_bytes(ring, lane) -> None:
    view = lane.take().view
    assert (view.readonly, view.format, view.itemsize, view.ndim, view.contiguous) == (True, "B", 1, 1, True)
    assert view.nbytes == len(view) == ring.slot_size
    assert view[0] == ord("a")
    with pytest.raises(TypeError):
        view[0] = 0


def test_what_a_view_is_used_for(lane, tmp_path) -> None:
    slot = lane.take()
    with (tmp_path / "image").open("wb", buffering=0) as file:
        assert file.write(slot.view) == slot.length
    assert hashlib.sha256(slot.view).digest() == hashlib.sha256(b"a" * slot.length).digest()
    assert memoryview(slot.view)[1:].tobytes() == b"a" * (slot.length - 1)
    lane.release()


def test_each_view_is_new(lane) -> None:
    slot = lane.take()
    with slot.view as first, slot.view as second:
        assert first is not second
        first.release()
        assert second[0] == ord("a")
    lane.release()


def hold_view(slot):
    return slot.view


def hold_slice(slot):
    return slot.view[1:2]


def hold_slice_of_a_released_view(slot):
    with slot.view as view:
        return view[5:10]


def hold_cast(slot):
    return slot.view.cast("I")


def hold_export(slot):
    return memoryview(memoryview(slot.view))[::2]


def hold_iterator(slot):
    return iter(slot.view)


@pytest.mark.parametrize(
    "hold",
    [hold_view, hold_slice, hold_slice_of_a_released_view, hold_cast, hold_export, hold_iterator],
    ids=lambda f: f.__name__,
)
def test_release_sees_who_still_holds(ring, lane, start, hold) -> None:
    held = hold(lane.take())
    for _ in range(2):
        with pytest.raises(BufferError):
            lane.release()
    reserve = start(ring.reserve)
    assert reserve.waits()  # the slot is not let go
    assert lane.position == 0
    del held
    lane.release()
    reserve.result()


def test_a_released_view_holds_nothing(lane) -> None:
    view = lane.take().view
    view.release()
    lane.release()


def test_holding_the_slot_holds_nothing(ring, lane) -> None:
    slot = lane.take()
    lane.release()
    assert slot.length == ring.slot_size
    with pytest.raises(ValueError, match="released"):
        _ = slot.view  # by now these are somebody else's bytes


def test_lanes_hold_apart(core) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    one, other = ring.lane(), ring.lane()
    ring.reserve()
    ring.publish(9)
    view = one.take().view
    other.take()
    other.release()
    with pytest.raises(BufferError):
        one.release()
    del view
    one.release()


def test_a_view_kept_by_a_loop_is_an_error_of_the_loop(lane) -> None:
    kept = []

    def read() -> None:
        for slot in lane:
            kept.append(slot.view)

    with pytest.raises(BufferError):
        read()
    kept.clear()
    lane.release()


def test_an_error_that_carries_a_view_is_not_replaced(lane) -> None:
    """The traceback of a failed write holds the view: the loop ends with the write's error, and nothing is printed."""

    def write(view: memoryview) -> None:
        raise ZeroDivisionError

    def read() -> None:
        for slot in lane:
            write(slot.view)

    with pytest.raises(ZeroDivisionError) as caught:
        read()
    gc.collect()
    assert lane.position == 0  # still held: somebody can still read it
    with pytest.raises(BufferError):
        lane.release()
    del caught
    gc.collect()
    lane.release()


def test_a_view_outlives_its_ring(core) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = ring.lane()
    ring.reserve()[:5] = b"bytes"
    ring.publish(ring.slot_size)
    view = lane.take().view
    reserved = ring.reserve()
    del ring, lane
    gc.collect()
    assert view[:5] == b"bytes"
    reserved[0] = 1
