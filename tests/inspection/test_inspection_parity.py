"""The verdicts are Glance's: on every sample, for every format it may claim to be, however the stream is cut."""

from __future__ import annotations

import itertools

import pytest
from format_samples import SAMPLES
from glance_verdict import glance_verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_stream.errors import FormatRejected
from glance_stream.inspection import LARGEST_VIRTUAL_SIZE, Finding, Inspection, Inspector
from glance_stream.model import DISK_FORMATS

CLAIMS = (*DISK_FORMATS, "luks", "qed")


def verdict(image: bytes, rules: Inspection, cuts: tuple[int, ...] = ()) -> Finding | str:
    """What is found, or why it is refused; a lane asks as soon as it is decided."""
    inspector = Inspector(rules)
    for first, last in itertools.pairwise((0, *sorted(cut % (len(image) + 1) for cut in cuts), len(image))):
        inspector.feed(memoryview(image)[first:last])
        if inspector.decided:
            break
    try:
        return inspector.judge(len(image))
    except FormatRejected as error:
        return str(error)


@pytest.mark.parametrize("require_match", [True, False], ids=["match", "any"])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_verdict_is_glances(name: str, require_match: bool) -> None:
    image = SAMPLES[name]()
    for claim in CLAIMS:
        theirs = glance_verdict(image, claim, require_match=require_match)
        ours = verdict(image, Inspection(claim, require_match=require_match))
        if theirs.unseen and claim != "raw":  # stricter on purpose: Glance's checks have not been run
            assert isinstance(ours, str) is require_match, (claim, ours)
        elif theirs.accepted and theirs.virtual_size > LARGEST_VIRTUAL_SIZE:  # Glance's database refuses it later
            assert isinstance(ours, str), claim
        elif theirs.accepted:
            assert isinstance(ours, Finding), (claim, ours)
            assert ours.disk_format == claim
            if require_match:  # a raw image is all of it; Glance's count may end where an inspector failed
                assert ours.virtual_size == (len(image) if claim == "raw" else theirs.virtual_size or None), claim
        else:
            assert isinstance(ours, str), (claim, ours)


@given(
    name=st.sampled_from(sorted(SAMPLES)),
    claim=st.sampled_from([*CLAIMS, None]),
    cuts=st.lists(st.integers(0, 1 << 22), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_the_verdict_does_not_depend_on_how_the_stream_is_cut(name: str, claim: str | None, cuts: list[int]) -> None:
    image = SAMPLES[name]()
    assert verdict(image, Inspection(claim), tuple(cuts)) == verdict(image, Inspection(claim))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith("disk")])
def test_checks_of_a_partition_table_that_are_not_fatal(name: str) -> None:
    image = SAMPLES[name]()
    for claim in ("raw", "gpt"):
        theirs = glance_verdict(image, claim, gpt_nonfatal=("mbr",))
        assert isinstance(verdict(image, Inspection(claim, gpt_nonfatal=("mbr",))), Finding) is theirs.accepted


def test_a_type_of_vmdk_that_is_not_allowed() -> None:
    """Stricter than Glance, which asks this only when it converts an image."""
    image = SAMPLES["vmdk, streamOptimized"]()
    assert isinstance(verdict(image, Inspection("vmdk")), Finding)
    assert "vmdk_allowed_types" in str(verdict(image, Inspection("vmdk", vmdk_allowed_types=["monolithicSparse"])))


FOUND = {
    "raw": "raw",
    "raw, zeros": "raw",
    "raw, text": "raw",
    "qcow2": "qcow2",
    "qcow2 v2": "qcow2",
    "qcow2, backing file": None,
    "qcow2, data file": None,
    "qed": None,
    "vmdk": "vmdk",
    "vmdk, footer": "vmdk",
    "vmdk, monolithicFlat": None,
    "vmdk, descriptor file": None,
    "vhd": "vhd",
    "vhdx": "vhdx",
    "vdi": "vdi",
    "iso": "iso",
    "iso, bootable as a disk": "iso",
    "iso in a qcow2": None,
    "disk": "raw",  # a disk with a partition table is what everybody calls raw
    "disk, bad lba": None,
    "fat": "raw",
    "luks": "raw",
    "luks v2": None,
    "raw, text and then bytes": None,  # nobody can tell
}


@pytest.mark.parametrize(("name", "disk_format"), FOUND.items())
def test_what_is_not_said_is_found_out(name: str, disk_format: str | None) -> None:
    found = verdict(SAMPLES[name](), Inspection(None))
    if disk_format is None:
        assert isinstance(found, str)
    else:
        assert isinstance(found, Finding)
        assert found.disk_format == disk_format


def test_what_is_found_out_must_be_a_format_of_the_site() -> None:
    assert "among the disk formats here (raw, qcow2)" in str(
        verdict(SAMPLES["vdi"](), Inspection(None, disk_formats=("raw", "qcow2")))
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_a_verdict_says_what_was_found_and_no_more_than_a_line(name: str) -> None:
    for claim in (None, "raw", "qcow2"):
        told = verdict(SAMPLES[name](), Inspection(claim))
        if isinstance(told, str):
            assert told.isprintable()
            assert len(told) < 500


def test_it_stops_looking_when_nothing_can_change_any_more() -> None:
    for name in ("raw", "qcow2", "vdi", "disk", "qcow2, backing file"):
        inspector = Inspector(Inspection(None))
        inspector.feed(memoryview(SAMPLES[name]() + bytes(1 << 20)))
        assert inspector.decided, name
