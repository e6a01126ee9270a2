"""What an interrupted operation has left is handed to the next one, and is on record all the time."""

from __future__ import annotations

import pytest
from catalogue_words import CONTENT, at

from glance_stream.catalogue import Catalogue, Event, Task
from glance_stream.errors import CatalogueError, InvalidRequest, Leftover, LockLost
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Beginning, Fingerprints, Image, Status

REASON = ("Interrupted", "the process ended")
READ = Beginning("https://example.org/ü", 5 << 40, '"etag"', Fingerprints(4 << 20, bytes(range(256)) * 4096))


def begin_again(catalogue: Catalogue, task: Task, stores: list[str], left: dict[str, str]) -> None:
    failed = {"a": REASON, "b": REASON}
    leftovers = [Leftover("a", "trace a", "it hung")]
    catalogue.begin_again(task, stores, importing=True, failed=failed, leftovers=leftovers, left=left)


def test_one_operation_ends_and_the_next_begins(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a", "b"], importing=True)
    catalogue.opened(task, {"a": "trace a"})
    catalogue.opened(task, {"b": "trace b"})
    begin_again(catalogue, task, ["b", "c"], {"b": "trace b"})
    properties = catalogue.get_image(image.image_id).properties
    assert (properties[IMPORTING_TO_STORES], properties[FAILED_IMPORT]) == ("b,c", "a")
    assert [failure.store_id for failure in catalogue.failures(image.image_id)] == ["a"]
    assert [recorded.leftover.trace for recorded in catalogue.leftovers()] == ["trace a"]
    (interrupted,) = catalogue.interrupted()
    journal = interrupted.journal
    assert journal is not None
    assert journal.stores == ("b", "c")
    assert [(entry.store_id, entry.event, entry.trace) for entry in journal.entries] == [("b", Event.OPENED, "trace b")]
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("b"), at("c")])
    assert catalogue.get_image(image.image_id).status is Status.ACTIVE


def test_what_can_not_begin_has_ended_nothing(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a", "b"], importing=True)
    catalogue.opened(task, {"b": "trace b"})
    (before,) = catalogue.interrupted()
    for stores, left in (([], {}), (["c"], {"b": "trace b"})):
        with pytest.raises(InvalidRequest):
            begin_again(catalogue, task, stores, left)
        (after,) = catalogue.interrupted()
        assert after.journal == before.journal
    assert catalogue.leftovers() == []


def test_who_has_lost_the_lock_begins_nothing_again(catalogue: Catalogue, task: Task) -> None:
    catalogue.begin(task, ["a", "b"], importing=True)
    catalogue.record_failure(task, {})
    catalogue.release(task)
    with pytest.raises(LockLost):
        begin_again(catalogue, task, ["b"], {})


def test_what_was_read_of_the_source(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a", "b"], importing=True)
    assert catalogue.beginning(task) is None
    for part in (READ.fingerprints.digests[:32], READ.fingerprints.digests):
        read = Beginning(READ.name, READ.size, READ.validator, Fingerprints(4 << 20, part))
        catalogue.read(task, read)
        assert catalogue.beginning(task) == read
    catalogue.opened(task, {"b": "trace b"})
    begin_again(catalogue, task, ["b"], {"b": "trace b"})
    assert catalogue.beginning(task) is None


def test_once_verified_the_fingerprints_are_the_images(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a"], importing=True)
    catalogue.read(task, READ)
    catalogue.verified(task, *CONTENT)
    catalogue.read(task, READ)
    catalogue.record_success(task, [at("a")])
    assert catalogue.fingerprints(image.image_id) != READ.fingerprints
    with pytest.raises(CatalogueError):
        catalogue.read(task, READ)
