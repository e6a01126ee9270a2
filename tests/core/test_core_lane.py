"""A lane read from Python: its slots, its end, how it is stopped."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def ring(core):
    return core.Ring(2, core.PAGE_SIZE)


@pytest.fixture
def lane(ring):
    return ring.lane()


def publish(ring, length: int | None = None) -> None:
    ring.reserve()
    ring.publish(ring.slot_size if length is None else length)


def test_slots_come_in_order(ring, lane) -> None:
    for number in range(7):
        ring.reserve()[:] = bytes([number]) * ring.slot_size
        ring.publish(ring.slot_size if number < 6 else 5)
        slot = lane.take()
        assert (slot.offset, slot.length) == (number * ring.slot_size, ring.slot_size if number < 6 else 5)
        assert len(slot) == slot.length
        assert bytes(slot.view) == bytes([number]) * slot.length
        lane.release()


def test_take_waits_for_the_next_slot(ring, lane, start) -> None:
    take = start(lane.take)
    assert take.waits()
    publish(ring, 3)
    assert take.result().length == 3


def test_the_end(ring, lane, start) -> None:
    publish(ring, 3)
    lane.take()
    lane.release()
    take = start(lane.take)
    assert take.waits()
    ring.finish()
    assert take.result() is None
    assert lane.take() is None


def test_finish_lets_unread_slots_be_read(ring, lane, drain) -> None:
    publish(ring)
    publish(ring, 3)
    ring.finish()
    assert len(drain(lane)) == ring.slot_size + 3


def test_an_empty_stream_ends_at_once(ring, lane) -> None:
    ring.finish()
    assert lane.take() is None


def test_take_twice(ring, lane) -> None:
    publish(ring)
    lane.take()
    with pytest.raises(ValueError, match="take"):
        lane.take()
    lane.release()


def test_release_without_take(ring, lane) -> None:
    with pytest.raises(ValueError, match="release"):
        lane.release()
    publish(ring)
    lane.take()
    lane.release()
    with pytest.raises(ValueError, match="release"):
        lane.release()


def test_position_is_what_was_let_go(ring, lane) -> None:
    publish(ring)
    assert lane.position == 0
    lane.take()
    assert lane.position == 0
    lane.release()
    assert lane.position == ring.slot_size
    publish(ring, 3)
    lane.take()
    lane.release()
    assert lane.position == ring.slot_size + 3


def test_fail_wakes_a_waiting_lane(core, ring, lane, start) -> None:
    take = start(lane.take)
    assert take.waits()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        take.result()


def test_fail_stops_at_once_though_slots_are_unread(core, ring, lane) -> None:
    publish(ring)
    publish(ring)
    lane.take()
    ring.fail()
    lane.release()
    with pytest.raises(core.LaneStopped):
        lane.take()


def test_fail_after_finish_stops_who_has_not_seen_the_end(core, ring, lane, start) -> None:
    digest = core.DigestLane(ring, "sha256")
    publish(ring, 3)
    ring.finish()
    start(digest.run).result()
    lane.take()
    lane.release()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        lane.take()
    assert digest.hexdigest()  # it has seen the whole stream


def test_finish_after_fail_is_not_the_end(core, ring, lane) -> None:
    ring.fail()
    ring.finish()
    with pytest.raises(core.LaneStopped):
        lane.take()


def test_detach_wakes_a_waiting_lane(core, ring, lane, start) -> None:
    other = ring.lane()
    take = start(lane.take)
    assert take.waits()
    assert not lane.detached
    lane.detach()
    lane.detach()
    assert lane.detached
    with pytest.raises(core.LaneStopped):
        take.result()
    assert not other.detached
    publish(ring)
    assert other.take() is not None


def test_detach_between_take_and_release(core, ring, lane) -> None:
    publish(ring)
    lane.take()
    lane.detach()
    for _ in range(5):
        publish(ring)
    lane.release()
    with pytest.raises(core.LaneStopped):
        lane.take()


@pytest.mark.parametrize("kind", ["digest", "write"])
def test_detach_and_fail_stop_run(core, ring, start, tmp_path, kind: str) -> None:
    for stop in ("detach", "fail"):
        fresh = core.Ring(2, core.PAGE_SIZE)
        with (tmp_path / "image").open("wb") as file:
            lane = core.DigestLane(fresh, "sha256") if kind == "digest" else core.WriteLane(fresh, file.fileno())
            publish(fresh)
            run = start(lane.run)
            assert run.waits()
            (lane.detach if stop == "detach" else fresh.fail)()
            with pytest.raises(core.LaneStopped):
                run.result()
            with pytest.raises(core.LaneStopped):
                lane.run()


def test_iteration_releases_each_slot(ring, lane) -> None:
    publish(ring)
    publish(ring, 3)
    ring.finish()
    seen = []
    for slot in lane:
        seen.append((slot.length, lane.position))
    assert seen == [(ring.slot_size, 0), (3, ring.slot_size)]
    assert lane.position == ring.slot_size + 3


def test_iteration_that_raises_releases(ring, lane) -> None:
    def read() -> None:
        for _ in lane:
            raise ZeroDivisionError

    publish(ring)
    with pytest.raises(ZeroDivisionError):
        read()
    assert lane.position == ring.slot_size


def test_iteration_that_breaks_off_can_be_taken_up_again(ring, lane) -> None:
    publish(ring)
    publish(ring, 3)
    ring.finish()
    for _ in lane:
        break
    assert [slot.length for slot in lane] == [3]


def test_iteration_stops_with_the_ring(core, ring, lane) -> None:
    def read() -> None:
        for _ in lane:
            ring.fail()

    publish(ring)
    with pytest.raises(core.LaneStopped):
        read()


def test_facts_outlive_the_release(ring, lane) -> None:
    publish(ring, 3)
    slot = lane.take()
    lane.release()
    facts = (slot.offset, slot.length, len(slot), slot.zero, len(slot.fingerprint))
    assert facts == (0, 3, 3, True, 16)


@pytest.mark.parametrize(
    "make",
    [
        lambda core, ring: core.WriteLane(ring, 1, True),
        lambda core, ring: core.DigestLane(ring, None),
        lambda core, ring: core.Lane(ring, 1),
    ],
)
def test_a_lane_that_was_not_made_holds_nothing_up(core, start, feed, make) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    with pytest.raises(TypeError):
        make(core, ring)
    start(feed, ring, bytes(10 * ring.slot_size)).result(timeout=15)
