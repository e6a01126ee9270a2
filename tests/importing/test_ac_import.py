"""Imports into several stores: all or nothing, as many as can, and what is seen meanwhile (AC1-AC4, AC9-AC11)."""

from __future__ import annotations

import asyncio
import gzip
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import (
    STEPS,
    CountingSource,
    House,
    assert_has_data_if_active,
    assert_holds,
    assert_settled,
    content,
    file_stores,
    run,
    sha512,
    state,
)

from glance_stream.errors import (
    DecodeError,
    DigestMismatch,
    EmptyImage,
    ImportFailed,
    InvalidRequest,
    SourceError,
    StoreFull,
)
from glance_stream.importing import ImportRequest, import_image
from glance_stream.model import Image, Status
from glance_stream.sources import PathSource
from glance_stream.transfer import Expectation, Progress

DATA = content()
OpenSite = Callable[..., House]
FAILING_STEPS = [step for step in STEPS if step in ("open", "write", "flush", "commit", "after commit")]

# Each step, and for two of them each place in the request.
FAILING = [(step, "b") for step in FAILING_STEPS] + [(step, store) for step in ("flush", "commit") for store in "ac"]


def full(store_id: str = "b") -> StoreFull:
    return StoreFull(store_id, "no space left on device")


def test_an_import_into_three_stores(house: House) -> None:
    outcome = house.import_(DATA, all_stores=True, name="jammy", properties={"os": "ubuntu"})
    image = house.image(outcome.image.image_id)
    assert outcome.image == image
    assert (outcome.failures, outcome.leftovers, image.name, image.properties["os"]) == ({}, (), "jammy", "ubuntu")
    assert_holds(house, image.image_id, DATA, "a", "b", "c")
    assert_settled(house, image.image_id, "abc")
    assert house.lists(image.image_id) == ("", "")


def test_without_stores_the_default_store_is_meant(open_site: OpenSite) -> None:
    house = open_site(default="b")
    assert_holds(house, house.import_(DATA).image.image_id, DATA, "b")


@pytest.mark.parametrize(("step", "failing"), FAILING)
def test_ac1_all_or_nothing(open_site: OpenSite, tmp_path: Path, failing: str, step: str) -> None:
    """AC1, for each place and each step: as it was before, the failed store named, and the same request runs again."""
    house = open_site(file_stores(tmp_path, **{name: {step: full(name)} if name == failing else {} for name in "abc"}))
    before = house.queued()
    with pytest.raises(ImportFailed) as caught:
        house.import_(DATA, image_id=before.image_id, stores=["a", "b", "c"], md5=True)
    assert list(caught.value.failures) == [failing]
    assert caught.value.leftovers == ()
    after = house.image(before.image_id)
    assert state(after) == state(before)
    assert (house.files(), house.lists(before.image_id)) == ([], ("", failing))
    assert house.catalogue.fingerprints(before.image_id) is None
    assert_settled(house, before.image_id, "abc")
    assert house.catalogue.statuses(before.image_id) == [Status.QUEUED, Status.IMPORTING, Status.QUEUED]

    house.store(failing).faults.clear()  # type: ignore[attr-defined]
    house.import_(DATA, image_id=before.image_id, stores=["a", "b", "c"])
    assert_holds(house, before.image_id, DATA, "a", "b", "c")
    assert house.lists(before.image_id) == ("", "")
    assert_settled(house, before.image_id, "abc")


@pytest.mark.parametrize(("step", "failing"), FAILING)
def test_ac2_best_effort_goes_on_without_a_store(open_site: OpenSite, tmp_path: Path, failing: str, step: str) -> None:
    """AC2."""
    house = open_site(file_stores(tmp_path, **{name: {step: full(name)} if name == failing else {} for name in "abc"}))
    outcome = house.import_(DATA, stores=["a", "b", "c"], all_stores_must_succeed=False)
    image_id = outcome.image.image_id
    assert_holds(house, image_id, DATA, *(name for name in "abc" if name != failing))
    assert list(outcome.failures) == [failing]  # what tells "partial" from "done"
    assert house.lists(image_id) == ("", failing)
    assert house.catalogue.failures(image_id)[0].error == "StoreFull"
    assert_settled(house, image_id, "abc")


def test_ac3_all_must_succeed_is_never_active_before_the_last_commit(open_site: OpenSite, tmp_path: Path) -> None:
    """AC3: asked at every step of the pass, at every progress report, and after every write of the catalogue."""
    seen: list[Status] = []

    def poll() -> None:
        seen.append(house.image(before.image_id).status)

    steps = dict.fromkeys(("open", "write", "flush", "commit", "after commit"), poll)
    house = open_site(file_stores(tmp_path, a=steps, b=steps, c=steps))
    before = house.queued()
    request = ImportRequest(house.source(DATA), before.image_id, stores=["c", "a", "b"])

    def observe(progress: Progress) -> None:
        image = house.image(before.image_id)
        assert_has_data_if_active(image)
        assert image.status is (Status.ACTIVE if progress.phase == "done" else Status.IMPORTING)

    run(import_image(house.site, request, observe))
    assert set(seen) == {Status.IMPORTING}
    assert len(seen) == 15
    assert house.catalogue.statuses(before.image_id) == [Status.QUEUED, Status.IMPORTING, Status.ACTIVE]
    writes = [write for write, _ in house.catalogue.history]
    states = [images[before.image_id].status for _, images in house.catalogue.history]
    first_active = states.index(Status.ACTIVE)
    assert writes[:first_active].count("committed") <= 2  # the last commit goes with the outcome
    assert writes[first_active] == "record_success"


def test_ac3_best_effort_is_active_with_the_first_commit_and_stays(open_site: OpenSite, tmp_path: Path) -> None:
    """AC3: the first store's commit makes it active while the others still wait, and no later failure takes that back."""
    first_is_recorded = lambda: wait_for(lambda: house.image(before.image_id).status is Status.ACTIVE)  # noqa: E731
    house = open_site(file_stores(tmp_path, "a", b={"commit": first_is_recorded}, c={"after commit": full("c")}))
    before = house.queued()
    house.import_(DATA, image_id=before.image_id, all_stores=True, all_stores_must_succeed=False)
    assert house.catalogue.statuses(before.image_id) == [Status.QUEUED, Status.IMPORTING, Status.ACTIVE]
    assert_holds(house, before.image_id, DATA, "a", "b")
    shown = [images[before.image_id].stores for write, images in house.catalogue.history if write == "add_location"]
    assert shown == [("a",), ("a", "b")]


def wait_for(true: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize("step", FAILING_STEPS)
def test_ac9_all_stores_fail(open_site: OpenSite, tmp_path: Path, step: str, must_succeed: bool) -> None:
    """AC9: never active, queued again, and with best effort each store has its reason."""
    house = open_site(file_stores(tmp_path, a={step: full("a")}, b={step: full("b")}))
    before = house.queued()
    with pytest.raises(ImportFailed) as caught:
        house.import_(DATA, image_id=before.image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    assert state(house.image(before.image_id)) == state(before)
    assert house.catalogue.statuses(before.image_id) == [Status.QUEUED, Status.IMPORTING, Status.QUEUED]
    assert house.files() == []
    assert_settled(house, before.image_id, "ab")
    if not must_succeed:
        assert set(caught.value.failures) == {"a", "b"}
        assert house.lists(before.image_id) == ("", "a,b")


def test_ac10_the_source_vanishes_after_the_last_byte(open_site: OpenSite, tmp_path: Path) -> None:
    """AC10: there is no staged file to miss, and a source that is gone after it was read changes nothing."""
    house = open_site(file_stores(tmp_path, "a", b={"commit": lambda: os.unlink(tmp_path / "source.img")}))
    image = house.import_(DATA, stores=["a", "b"]).image
    assert_holds(house, image.image_id, DATA, "a", "b")


def test_ac11_polled_from_another_thread(house: House) -> None:
    """AC11, besides the check after every write of every test here: another reader, as fast as it can."""

    async def scenario() -> list[Image]:
        seen: list[Image] = []
        image_id = str(uuid.uuid4())

        async def poll() -> None:
            while True:
                seen.extend(await asyncio.to_thread(house.catalogue.list_images))

        polling = asyncio.ensure_future(poll())
        for must_succeed in (True, False):
            request = ImportRequest(house.source(DATA), image_id, all_stores=True, all_stores_must_succeed=must_succeed)
            await import_image(house.site, request)
            image_id = str(uuid.uuid4())
        polling.cancel()
        return seen

    seen = run(scenario())
    assert {image.status for image in seen} >= {Status.ACTIVE}
    for image in seen:
        assert_has_data_if_active(image)


# -- failures that are no store's ----------------------------------------------------------------------------------------------


class Broken(CountingSource):
    def readinto(self, view: memoryview) -> int:
        if self.given >= len(self._data) // 2:
            raise SourceError("the line is dead")
        return super().readinto(view)


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        (lambda: Broken(DATA), {}, SourceError),
        (lambda: CountingSource(b""), {}, EmptyImage),
        (lambda: CountingSource(DATA), {"expected": [Expectation("sha256", "00" * 32)]}, DigestMismatch),
        (lambda: CountingSource(DATA), {"expected_compressed": [Expectation("sha256", "00" * 32)]}, DigestMismatch),
        (lambda: CountingSource(gzip.compress(DATA)[:-9]), {}, DecodeError),
    ],
    ids=["broken source", "empty", "wrong digest", "wrong compressed digest", "broken gzip"],
)
def test_a_bad_stream_leaves_everything_as_it_was(
    house: House, source: Callable[[], CountingSource], options: dict[str, object], error: type[Exception], must_succeed: bool
) -> None:
    before = house.queued()
    with pytest.raises(error):
        house.import_(source(), image_id=before.image_id, all_stores=True, all_stores_must_succeed=must_succeed, **options)
    assert state(house.image(before.image_id)) == state(before)
    assert (house.files(), house.lists(before.image_id)) == ([], ("", ""))
    assert_settled(house, before.image_id, "abc")
    house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert_holds(house, before.image_id, DATA, "a", "b", "c")


def test_a_failed_import_of_a_fresh_id_leaves_a_queued_record_to_try_again(open_site: OpenSite, tmp_path: Path) -> None:
    house = open_site(file_stores(tmp_path, "a", b={"flush": full()}))
    image_id = str(uuid.uuid4())
    request = {"image_id": image_id, "name": "jammy", "all_stores": True, "properties": {"os": "ubuntu"}}
    with pytest.raises(ImportFailed):
        house.import_(DATA, **request)
    left = house.image(image_id)
    assert (left.status, left.name, left.properties["os"]) == (Status.QUEUED, "jammy", "ubuntu")
    assert [failure.store_id for failure in house.catalogue.failures(image_id)] == ["b"]
    house.store("b").faults.clear()  # type: ignore[attr-defined]
    house.import_(DATA, **request)
    assert_holds(house, image_id, DATA, "a", "b")


def test_a_source_that_is_not_there_leaves_no_record(house: House) -> None:
    image_id = str(uuid.uuid4())
    with pytest.raises(InvalidRequest, match="no such file"):
        house.import_(PathSource(house.root / "tpyo.img"), image_id=image_id)
    assert house.catalogue.list_images() == []
    assert house.files() == []


def test_a_source_that_is_not_there_leaves_an_image_of_before_as_it_was(house: House) -> None:
    before = house.queued()
    with pytest.raises(InvalidRequest, match="no such file"):
        house.import_(PathSource(house.root / "tpyo.img"), image_id=before.image_id)
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "a")


def test_a_leftover_is_reported_and_recorded(open_site: OpenSite, tmp_path: Path) -> None:
    """When an undo fails the first cause is what is reported, and what could not be removed is on record."""
    house = open_site(file_stores(tmp_path, a={"abort": full("a")}, b={"flush": full("b")}))
    before = house.queued()
    with pytest.raises(ImportFailed, match="no space") as caught:
        house.import_(DATA, image_id=before.image_id, stores=["a", "b"])
    assert [left.store_id for left in caught.value.leftovers] == ["a"]
    assert [recorded.leftover for recorded in house.catalogue.leftovers()] == list(caught.value.leftovers)
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "ab")


def test_best_effort_reports_and_records_what_a_dropped_store_left(open_site: OpenSite, tmp_path: Path) -> None:
    house = open_site(file_stores(tmp_path, "a", b={"flush": full("b"), "abort": full("b")}))
    outcome = house.import_(DATA, stores=["a", "b"], all_stores_must_succeed=False)
    assert [left.store_id for left in outcome.leftovers] == ["b"]
    assert [recorded.leftover for recorded in house.catalogue.leftovers()] == list(outcome.leftovers)
    assert outcome.image.stores == ("a",)
    assert outcome.image.os_hash_value == sha512(DATA)
    assert_settled(house, outcome.image.image_id, "ab")
