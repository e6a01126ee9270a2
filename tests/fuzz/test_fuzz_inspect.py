"""The inspection against damaged headers: a fixed slice of what `make fuzz` does for longer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_property import CLAIMS, SEEDS, check

pytestmark = pytest.mark.timeout(120)
INTERESTING = [
    b"\0",
    b"\xff",
    b"\xff" * 8,
    b"\0\0\0\x01",
    b"\x01\0\0\0",
    b"\n",
    b'"',
    b"conectix",
    b"KDMV",
    b"QFI\xfb",
    b"\x55\xaa",
]
# Where headers have their fields: the start, vhdx' two tables, iso's descriptor.
PLACES = st.integers(0, 600) | st.integers(0x30000, 0x30060) | st.integers(0x8000, 0x8060) | st.integers(0x200000, 0x200060)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The inspectors tell of each input, at length."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(PLACES, st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=8)), max_size=5),
    length=st.none() | st.integers(0, 70_000),
    claim=st.sampled_from(CLAIMS),
    cuts=st.lists(st.integers(0, 1 << 32), max_size=4),
)
def test_damaged_headers(
    seed: bytes, changes: list[tuple[int, bytes]], length: int | None, claim: str | None, cuts: list[int]
) -> None:
    image = bytearray(seed)
    for at, value in changes:
        image[at : at + len(value)] = value
    check(bytes(image[:length]), claim, cuts)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(image=st.binary(max_size=3000), claim=st.sampled_from(CLAIMS), cuts=st.lists(st.integers(0, 1 << 32), max_size=4))
def test_any_bytes(image: bytes, claim: str | None, cuts: list[int]) -> None:
    check(image, claim, cuts)
