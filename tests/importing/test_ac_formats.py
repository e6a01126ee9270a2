"""disk_format: found out where nobody says it, recorded, held against the content; Glance's ``[image_format]``."""

from __future__ import annotations

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from importing_words import House, assert_holds, assert_settled, run

from glance_stream.config import ImageFormatConfig
from glance_stream.errors import FormatRejected, InvalidRequest
from glance_stream.importing import copy_image
from glance_stream.model import Status

sys.path.append(str(Path(__file__).parents[1] / "inspection"))

from format_samples import BODY, SAMPLES, descriptor, disk, partition, qcow2, vmdk

BACKING = SAMPLES["qcow2, backing file"]()


def assert_refused(house: House, image: bytes, says: str, **options: object) -> None:
    """Nothing is stored, and the record is queued and free."""
    with pytest.raises(FormatRejected, match=says):
        house.import_(image, **options)
    assert house.files() == []
    for record in house.catalogue.list_images():
        assert record.status is Status.QUEUED
        assert_settled(house, record.image_id, ["a", "b", "c"])


@pytest.mark.parametrize("stores", [["a"], ["a", "b", "c"]])
@pytest.mark.parametrize("must", [True, False], ids=["all", "best effort"])
def test_an_unsafe_image_is_in_no_store(house: House, stores: list[str], must: bool) -> None:
    options = {"stores": stores, "all_stores_must_succeed": must}
    assert_refused(house, BACKING, "backing_file: Image has a backing file", disk_format="qcow2", **options)
    assert_refused(house, gzip.compress(BACKING), "backing_file", disk_format="raw", **options)
    assert_refused(house, BACKING, "backing_file", **options)


def test_what_is_not_said_is_found_out_recorded_and_told(house: House) -> None:
    done = house.import_(gzip.compress(qcow2(size=5 << 30)))
    assert (done.image.disk_format, done.image.virtual_size) == ("qcow2", 5 << 30)
    assert "disk_format: qcow2, detected" in done.notes
    done = house.import_(disk(partition()))
    assert (done.image.disk_format, done.image.virtual_size) == ("raw", len(disk(partition())))
    assert done.notes == ()


def test_what_is_said_counts(house: House) -> None:
    done = house.import_(qcow2(), disk_format="raw")
    assert (done.image.disk_format, done.image.virtual_size, done.notes) == ("raw", len(qcow2()), ())
    with pytest.raises(FormatRejected, match="the content is qcow2, and not vhd as the image's disk_format says"):
        house.import_(qcow2(), disk_format="vhd")


def test_a_record_without_a_format_is_given_the_one_found(house: House) -> None:
    """As an import leaves it that failed before it could tell."""
    image_id = house.queued(disk_format=None).image_id
    assert_refused(house, BACKING, "backing_file", image_id=image_id)
    assert house.image(image_id).disk_format is None
    assert house.import_(qcow2(), image_id=image_id).image.disk_format == "qcow2"
    assert_holds(house, image_id, qcow2(), "a")


def test_a_record_without_a_format_is_given_the_one_said_if_it_is_true(house: House) -> None:
    image_id = house.queued(disk_format=None).image_id
    with pytest.raises(FormatRejected, match="and not vmdk"):
        house.import_(qcow2(), image_id=image_id, disk_format="vmdk")
    assert house.image(image_id).disk_format is None
    assert house.import_(qcow2(), image_id=image_id, disk_format="raw").image.disk_format == "raw"


def test_a_format_on_record_stays(house: House) -> None:
    image_id = house.queued(disk_format="raw").image_id
    with pytest.raises(InvalidRequest, match="has disk_format 'raw' on record"):
        house.import_(qcow2(), image_id=image_id, disk_format="qcow2")
    assert house.import_(qcow2(), image_id=image_id).image.disk_format == "raw"


@pytest.mark.parametrize("container", ["ova", "compressed"])
def test_other_containers_are_not_looked_into(house: House, container: str) -> None:
    """As in Glance."""
    done = house.import_(BACKING, container_format=container)
    assert (done.image.disk_format, done.image.virtual_size) == ("raw", None)


def test_a_copy_is_not_looked_into(house: House) -> None:
    """As in Glance: what is copied has been accepted once."""
    image = house.import_(BACKING, container_format="ova").image
    run(copy_image(house.site, image.image_id, stores=["b"]))
    assert_holds(house, image.image_id, BACKING, "a", "b")


def test_the_rules_of_the_site(house: House) -> None:
    site = house.site
    bad_table = disk(partition(boot=0x55))
    assert_refused(house, bad_table, "mbr: MBR PTE 0 has invalid boot flag")
    house.site = replace(site, image_format=ImageFormatConfig(gpt_safety_checks_nonfatal=("mbr",)))
    assert house.import_(bad_table).image.status is Status.ACTIVE
    house.site = replace(site, image_format=ImageFormatConfig(require_image_format_match=False))
    assert house.import_(BODY, disk_format="qcow2").image.virtual_size is None
    house.site = replace(site, image_format=ImageFormatConfig(vmdk_allowed_types=("monolithicSparse",)))
    assert house.import_(vmdk()).image.disk_format == "vmdk"
    with pytest.raises(FormatRejected, match="vmdk_allowed_types"):
        house.import_(vmdk(descriptor("streamOptimized")))
    house.site = replace(site, disk_formats=("raw",))
    with pytest.raises(FormatRejected, match="not among the disk formats here"):
        house.import_(qcow2())
