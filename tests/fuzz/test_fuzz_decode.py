"""The decoders against damaged streams: a fixed slice of what `make fuzz` does for longer, by chance instead of by coverage."""

from __future__ import annotations

import pytest
from decode_property import check
from decode_seeds import SEEDS, repaired, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(120)
MUTATIONS = ("flip", "set", "delete", "insert", "repeat", "cut", "pad", "splice")


@pytest.mark.parametrize("name", SEEDS)
def test_seeds(name: str) -> None:
    """They are valid, or the rest would try nothing. The archive without a file is the one exception."""
    assert [seed for seed in seeds(name) if not check(name, seed)] == ([seeds("zip")[-1]] if name == "zip" else [])


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(choices=st.data())
def test_mutated_streams(name: str, choices: st.DataObject) -> None:
    blob = choices.draw(st.sampled_from(seeds(name)), label="seed")
    for _ in range(choices.draw(st.integers(1, 4), label="mutations")):
        blob = _mutated(name, blob, choices)
    check(name, repaired(name, blob) if choices.draw(st.booleans(), label="repaired") else blob)


def _mutated(name: str, blob: bytes, choices: st.DataObject) -> bytes:
    """Mostly near the start or the end, where headers and trailers are."""
    span = len(blob)
    at = choices.draw(st.integers(0, min(span, 64)) | st.integers(0, span) | st.integers(max(0, span - 64), span), label="at")
    until = min(span, at + choices.draw(st.integers(1, 8), label="length"))
    match choices.draw(st.sampled_from(MUTATIONS), label="mutation"):
        case "flip":
            bit = 1 << choices.draw(st.integers(0, 7), label="bit")
            return blob[:at] + bytes(byte ^ bit for byte in blob[at : at + 1]) + blob[at + 1 :]
        case "set":
            return blob[:at] + choices.draw(st.sampled_from([b"\0", b"\xff"]), label="byte") * (until - at) + blob[until:]
        case "delete":
            return blob[:at] + blob[until:]
        case "insert":
            return blob[:at] + choices.draw(st.binary(min_size=1, max_size=8), label="bytes") + blob[at:]
        case "repeat":
            return blob[:until] + blob[at:until] * choices.draw(st.sampled_from([1, 2, 100]), label="times") + blob[until:]
        case "cut":
            return blob[:at]
        case "pad":
            return blob.rstrip(b"\0") + bytes(choices.draw(st.integers(0, 13), label="zeros"))
        case _:
            other = choices.draw(st.sampled_from(seeds(name)), label="other")
            return blob[:at] + other[choices.draw(st.integers(0, len(other)), label="from") :]
