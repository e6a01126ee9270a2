"""The verdict within a transfer: before any store is flushed, however many there are, and on the bytes that would be stored."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from typing import Any

import pytest
from faults.loop import run
from faults.source import FaultySource
from format_samples import SAMPLES, descriptor, vhdx, vmdk_header
from stage import Stage

from glance_stream.errors import EmptyImage, FormatRejected
from glance_stream.inspection import Inspection, Inspector

SLOT = 4096
HOSTILE = ["qcow2, backing file", "vmdk, monolithicFlat", "vmdk, footer with a bad marker", "luks v2", "disk, bad lba", "qed"]


def transfer(stage: Stage, image: bytes, disk_format: str | None, **fields: Any) -> Any:
    return run(stage.transfer(FaultySource(image), inspection=Inspection(disk_format), **fields))


def assert_nothing(stage: Stage) -> None:
    stage.assert_only()
    assert not {"flushed", "verified", "committed"} & set(stage.recorder.events)


@pytest.mark.parametrize("best_effort", [False, True], ids=["all", "best effort"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_flushed_of_what_is_refused(name: str, count: int, best_effort: bool) -> None:
    for claim in ("raw", "qcow2", None):
        stage = Stage(count)
        with pytest.raises(FormatRejected):
            transfer(stage, SAMPLES[name](), claim, best_effort=best_effort)
        assert_nothing(stage)


@pytest.mark.parametrize("pack", [None, gzip.compress], ids=["plain", "gzip"])
def test_what_is_stored_is_what_is_looked_at(stage: Stage, pack: Callable[[bytes], bytes] | None) -> None:
    good, bad = SAMPLES["qcow2"](), SAMPLES["qcow2, backing file"]()
    with pytest.raises(FormatRejected, match="backing_file"):
        transfer(stage, pack(bad) if pack else bad, "qcow2")
    assert_nothing(stage)
    verified = transfer(stage, pack(good) if pack else good, "qcow2").verified
    assert (verified.disk_format, verified.virtual_size) == ("qcow2", 1 << 30)
    stage.assert_only("s0", "s1", "s2", data=good)


def test_a_packed_image_that_stays_packed_is_what_is_looked_at(stage: Stage) -> None:
    packed = gzip.compress(SAMPLES["qcow2, backing file"]())
    with pytest.raises(FormatRejected, match="the content is raw, and not qcow2"):
        transfer(stage, packed, "qcow2", decompress="never")
    assert transfer(stage, packed, "raw", decompress="never").verified.virtual_size == len(packed)


def test_a_copy_is_not_looked_into(stage: Stage) -> None:
    image = SAMPLES["qcow2, backing file"]()
    verified = run(stage.transfer(FaultySource(image))).verified
    assert (verified.disk_format, verified.virtual_size) == (None, None)


def test_without_the_inspectors_nothing_is_stored(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oslo_utils.imageutils", None)
    with pytest.raises(FormatRejected, match=r"install 'oslo.utils\[image-inspection\]'"):
        transfer(stage, SAMPLES["raw"](), "raw")
    assert_nothing(stage)


def test_an_empty_image_is_said_to_be_empty(stage: Stage) -> None:
    with pytest.raises(EmptyImage):
        transfer(stage, b"", "qcow2")


def test_it_is_refused_long_before_its_end(stage: Stage) -> None:
    """A source that would go on for ever: only the head has to be read."""

    class Endless(FaultySource):
        given = 0

        def readinto(self, view: memoryview) -> int:
            count = super().readinto(view) if self.given < len(head) else len(view)
            self.given += count
            return count

    head = SAMPLES["qcow2, backing file"]()
    source = Endless(head)
    with pytest.raises(FormatRejected, match="backing_file"):
        run(stage.transfer(source, inspection=Inspection("qcow2")))
    assert_nothing(stage)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(vmdk_header(length=1 << 50, directory=(1 << 64) - 1) + bytes(range(256)), id="vmdk"),
        pytest.param(vhdx(metadata=1 << 62), id="vhdx, far away"),
        pytest.param(vhdx(items=60_000), id="vhdx, items"),
        pytest.param(descriptor(more="#" + "x" * (2 << 20)), id="text"),
    ],
)
def test_headers_that_ask_for_more_and_more_get_little(image: bytes) -> None:
    """What is held does not grow with the image."""
    inspector = Inspector(Inspection(None))
    inspector.feed(memoryview(image))
    for _ in range(64):
        inspector.feed(memoryview(b"\x01" * (1 << 20)))
    held = sum(sum(one.context_info.values()) for one in inspector._inspectors)
    assert held + len(inspector._rest) < 2 << 20
