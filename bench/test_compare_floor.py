"""Floors and targets, on made-up figures."""

from __future__ import annotations

import pytest
from compare.floor import SENTENCES, floor_of, of_floor, of_row
from compare.result import Kind, Role, Row, Sample


def row(key: str, role: Role, kind: Kind, seconds: float, cpu: float = 0.0) -> Row:
    """With two other rounds that a median leaves out."""
    times = (seconds / 2, seconds * 9, seconds)
    return Row(key, key, role, kind, [Sample(time, cpu / 4, cpu * 3 / 4) for time in times])


READ = row("read", "part", "source", 0.3, 0.2)
SHA512 = row("sha512", "part", "digest", 4.0, 4.0)
MD5 = row("md5", "part", "digest", 3.0, 3.0)
DD = row("dd", "part", "store", 5.0, 1.5)
FIO = row("fio", "part", "store", 3.5, 0.4)
GZIP = row("gzip", "part", "decode", 3.7, 3.6)
OURS = row("ours", "ours", "", 5.0, 9.0)


def test_the_floor_is_the_slowest_part() -> None:
    floor = floor_of([OURS, READ, SHA512, FIO], 4)
    assert floor is not None
    assert (floor.seconds, floor.limit) == (4.0, "digest")
    assert floor.bounds == {"source": 0.3, "digest": 4.0, "store": 3.5, "cpu": pytest.approx(4.6 / 4)}


def test_of_writers_the_fastest_counts_with_its_cpu() -> None:
    floor = floor_of([READ, DD, FIO], 1)
    assert floor is not None
    assert floor.bounds == {"source": 0.3, "store": 3.5, "cpu": pytest.approx(0.2 + 0.4)}


def test_digests_go_on_side_by_side_but_all_need_cpu() -> None:
    floor = floor_of([READ, SHA512, MD5, FIO], 2)
    assert floor is not None
    assert floor.bounds["digest"] == 4.0
    assert floor.bounds["cpu"] == pytest.approx((0.2 + 4.0 + 3.0 + 0.4) / 2)


def test_all_cores_together_can_be_the_limit() -> None:
    floor = floor_of([READ, GZIP, SHA512, MD5, FIO], 2)
    assert floor is not None
    assert floor.limit == "cpu"
    assert floor.seconds == pytest.approx((0.2 + 3.6 + 4.0 + 3.0 + 0.4) / 2)


def test_without_parts_there_is_no_floor() -> None:
    assert floor_of([OURS, row("peer", "peer", "", 9.0), row("other", "variant", "digest", 1.0)], 2) is None


def test_every_limit_has_a_sentence() -> None:
    floor = floor_of([READ, GZIP, SHA512, FIO], 2)
    assert floor is not None
    assert set(floor.bounds) == set(SENTENCES)


@pytest.mark.parametrize(("wanted", "reached"), [(0.80, True), (0.81, False)])
def test_a_target_is_a_share_of_the_floors_rate(wanted: float, reached: bool) -> None:
    rows = {one.key: one for one in (OURS, SHA512)}
    target = of_floor(wanted)(rows, floor_of(rows.values(), 2))
    assert target is not None
    assert target.measured == pytest.approx(0.8)
    assert (target.at_least, target.reached) == (wanted, reached)


def test_a_target_beside_another_row() -> None:
    rows = {one.key: one for one in (OURS, SHA512)}
    target = of_row(0.9, "sha512", "the digest's rate")(rows, None)
    assert target is not None
    assert target.measured == pytest.approx(0.8)
    assert not target.reached


def test_what_was_not_measured_has_no_target() -> None:
    assert of_floor(0.9)({"sha512": SHA512}, floor_of([SHA512], 2)) is None
    assert of_floor(0.9)({"ours": OURS}, None) is None
    assert of_row(0.9, "sha512", "")({"ours": OURS}, None) is None
