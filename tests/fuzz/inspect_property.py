"""What must hold of the inspection of any bytes: the verdict is Glance's, it does not depend on the cuts, and it costs little."""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "inspection"))

from format_samples import SAMPLES
from glance_verdict import glance_verdict

from glance_stream.errors import FormatRejected
from glance_stream.inspection import LARGEST_VIRTUAL_SIZE, Finding, Inspection, Inspector

CLAIMS = ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "gpt", "ploop", None)
MOST_HELD = 2 << 20
PREFIX = 16  # of a fuzzed input: the claim and where the stream is cut
SEEDS = [sample() for sample in SAMPLES.values()]


def find(image: bytes, claim: str | None, cuts: Sequence[int]) -> Finding | None:
    """None where it is refused. Nothing else may be raised."""
    inspector = Inspector(Inspection(claim))
    for first, last in itertools.pairwise((0, *sorted(cut % (len(image) + 1) for cut in cuts), len(image))):
        inspector.feed(memoryview(image)[first:last])
        assert sum(sum(one.context_info.values()) for one in inspector._inspectors) < MOST_HELD
        if inspector.decided:
            break
    try:
        return inspector.judge(len(image))
    except FormatRejected as error:
        told = str(error)
    assert told.isprintable()
    assert len(told) < 1000
    return None


def check(image: bytes, claim: str | None, cuts: Sequence[int]) -> bool:
    """Whether the image is accepted."""
    ours = find(image, claim, cuts)
    assert find(image, claim, ()) == ours
    if claim is None:
        return ours is not None
    theirs = glance_verdict(image, claim)
    stricter = (theirs.unseen and claim != "raw") or theirs.virtual_size > LARGEST_VIRTUAL_SIZE
    assert (ours is not None) == (theirs.accepted and not stricter), (ours, theirs)
    return ours is not None


def check_bytes(data: bytes) -> bool:
    """As a fuzzer gives it: what is claimed, three cuts, and the image."""
    claim, *cuts = struct.unpack("<IIII", data[:PREFIX].ljust(PREFIX, b"\0"))
    return check(data[PREFIX:], CLAIMS[claim % len(CLAIMS)], cuts)
