"""Which programs and races there are."""

from __future__ import annotations

from typing import Any

from core_program import PAGE, Program
from core_race import NOISE, Race
from hypothesis import strategies as st

writers = [("write", True, True), ("write", False, False), ("write", True, False)]
kinds = st.sampled_from(["plain", "plain", "sha256", "md5", "blake2b", *writers])


def steps(lanes: int, slot: int) -> st.SearchStrategy[Any]:
    lane = st.integers(0, lanes - 1)
    put = st.tuples(st.just("put"), st.integers(0, 3), st.sampled_from([0, 0, 0, 0, 0, 0, 1, slot - 1]))
    sizes, prefixes = st.sampled_from([0, 1, slot, 2 * slot, 5 * PAGE + 7]), st.sampled_from([0, 0, 3, slot])
    fill = st.tuples(st.just("fill"), sizes, prefixes, st.booleans())
    publish = st.tuples(st.just("publish"), st.sampled_from([0, 1, slot - 1, slot, slot, slot, slot + 1]))
    of_lane = [st.tuples(st.just(name), lane) for name in ("run", "take", "take", "release", "release", "hold", "let_go")]
    alone = [st.just((name,)) for name in ("reserve", "fill_nothing", "join")]
    detach = st.tuples(st.just("detach"), lane)
    ends = st.one_of(detach, detach, st.sampled_from([("finish",), ("fail",)]))
    common = st.one_of(put, put, put, fill, publish, *of_lane, *alone)
    return st.integers(0, 7).flatmap(lambda chance: common if chance else ends)  # or hardly a program would come far


@st.composite
def programs(draw: st.DrawFn) -> Program:
    pages = draw(st.integers(1, 3))
    lanes = tuple(draw(st.lists(kinds, min_size=1, max_size=3)))
    plan = draw(st.lists(steps(len(lanes), pages * PAGE), max_size=30))
    return Program(draw(st.integers(2, 4)), pages, lanes, tuple(plan))


@st.composite
def races(draw: st.DrawFn) -> Race:
    lanes = tuple(draw(st.lists(kinds, min_size=1, max_size=5)))
    size = draw(st.integers(1, len(NOISE)))
    moments, lane = st.integers(0, size), st.integers(0, len(lanes) - 1)
    disturbances = st.lists(st.tuples(moments, st.sampled_from(["look", "look", "detach", "fail"]), lane), max_size=6)
    prefix = draw(st.none() | st.integers(0, size))
    return Race(draw(st.integers(2, 4)), draw(st.integers(1, 3)), size, prefix, lanes, tuple(draw(disturbances)))
