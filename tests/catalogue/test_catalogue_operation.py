"""An operation from begin to its outcome."""

from __future__ import annotations

import dataclasses

import pytest
from catalogue_words import CONTENT, FULL, at

from glance_stream.catalogue import Catalogue, Content, Deletion, Event, Operation, Task
from glance_stream.errors import CatalogueError, DigestMismatch, EmptyImage, InvalidRequest, Leftover, LockLost
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Fingerprints, Image, Location, Status


def lists(catalogue: Catalogue, image: Image) -> tuple[str | None, str | None]:
    properties = catalogue.get_image(image.image_id).properties
    return properties.get(IMPORTING_TO_STORES), properties.get(FAILED_IMPORT)


def earlier(image: Image) -> tuple[object, ...]:
    """All that a failure must restore."""
    digests = (image.checksum, image.os_hash_algo, image.os_hash_value)
    users = {name: value for name, value in image.properties.items() if not name.startswith("os_glance")}
    return image.status, image.size, image.virtual_size, *digests, image.locations, users


def copying(catalogue: Catalogue, image: Image, *stores: str) -> Task:
    task = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.COPY)).task
    catalogue.begin(task, stores, importing=False)
    return task


def test_begin_says_where_to_as_glance_does(catalogue: Catalogue, image: Image, task: Task) -> None:
    assert lists(catalogue, image) == (None, None)
    catalogue.begin(task, ["zebra", "Ähre", "apfel"], importing=True)
    assert lists(catalogue, image) == ("apfel,zebra,Ähre", "")
    assert catalogue.get_image(image.image_id).status is Status.IMPORTING


@pytest.mark.parametrize("stores", [[], ["a", "a"], ["a", ""], ["a,b"], ["a", 3], "ab", ["x" * 256], ["a\0"]])
def test_a_bad_list_of_stores_is_refused(catalogue: Catalogue, image: Image, task: Task, stores: list[str]) -> None:
    """AC25."""
    before = catalogue.get_image(image.image_id)
    with pytest.raises(InvalidRequest):
        catalogue.begin(task, stores, importing=True)
    assert catalogue.get_image(image.image_id) == before


def test_imports_begin_on_queued_images_and_copies_on_active_ones(catalogue: Catalogue, image: Image, task: Task) -> None:
    with pytest.raises(InvalidRequest, match="is queued"):
        catalogue.begin(task, ["a"], importing=False)
    catalogue.begin(task, ["a"], importing=True)
    with pytest.raises(CatalogueError, match="begun already"):
        catalogue.begin(task, ["b"], importing=True)
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("a")])
    with pytest.raises(InvalidRequest, match="is active"):
        catalogue.begin(task, ["b"], importing=True)


def test_success_shows_everything_at_once(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a", "b"], importing=True)
    begun = catalogue.get_image(image.image_id)
    catalogue.opened(task, {"a": "trace a"})
    catalogue.verified(task, *CONTENT, virtual_size=7)
    catalogue.committed(task, at("a"))
    assert catalogue.get_image(image.image_id) == begun  # nothing shows before the outcome
    catalogue.record_success(task, [at("b"), at("a")])
    after = catalogue.get_image(image.image_id)
    assert earlier(after)[:6] == (Status.ACTIVE, 5, 7, CONTENT[1], CONTENT[2], CONTENT[3])
    assert (after.locations, after.stores) == ((at("b"), at("a")), ("a", "b"))
    assert lists(catalogue, image) == ("", "")
    assert catalogue.fingerprints(image.image_id) == CONTENT[4]
    assert catalogue.interrupted()[0].journal is None


def test_a_dropped_store_is_listed_with_its_reason(catalogue: Catalogue, image: Image, task: Task) -> None:
    """AC2: and the list is sorted, and a later success takes it out again with its reason."""
    catalogue.begin(task, ["c", "b", "a"], importing=True)
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("a")], {"c": ("StoreTimeout", "slow"), **FULL})
    catalogue.release(task)
    assert lists(catalogue, image) == ("", "b,c")
    assert [(item.store_id, item.error, item.message) for item in catalogue.failures(image.image_id)] == [
        ("b", *FULL["b"]),
        ("c", "StoreTimeout", "slow"),
    ]
    copy = copying(catalogue, image, "b")
    assert lists(catalogue, image) == ("b", "c")
    catalogue.verified(copy, *CONTENT)
    catalogue.record_success(copy, [at("b")])
    assert lists(catalogue, image) == ("", "c")
    assert [item.store_id for item in catalogue.failures(image.image_id)] == ["c"]


def test_without_must_succeed_the_first_location_activates(catalogue: Catalogue, image: Image, task: Task) -> None:
    """AC3: active with the first store, and never back."""
    catalogue.begin(task, ["a", "b", "c"], importing=True)
    catalogue.verified(task, *CONTENT)
    catalogue.add_location(task, at("a"), activate=False)
    shown = catalogue.get_image(image.image_id)
    assert (shown.status, shown.stores, shown.size, lists(catalogue, image)) == (Status.IMPORTING, ("a",), None, ("b,c", ""))
    catalogue.add_location(task, at("b"), activate=True)
    active = catalogue.get_image(image.image_id)
    assert (active.status, active.size, lists(catalogue, image)) == (Status.ACTIVE, 5, ("c", ""))
    catalogue.record_success(task, [at("a"), at("b")], {"c": ("StoreFull", "full")})
    done = catalogue.get_image(image.image_id)
    assert (done.locations, lists(catalogue, image)) == ((at("a"), at("b")), ("", "c"))


def test_failure_restores_a_queued_image(catalogue: Catalogue, image: Image, task: Task) -> None:
    """AC1, after the worst: a location was shown and the image active already."""
    catalogue.begin(task, ["a", "b", "c"], importing=True)
    catalogue.verified(task, *CONTENT)
    catalogue.add_location(task, at("a"), activate=True)
    left = Leftover("c", "part-17", "connection refused \udcff")
    catalogue.record_failure(task, FULL, [left])
    catalogue.release(task)
    after = catalogue.get_image(image.image_id)
    assert earlier(after) == earlier(image)
    assert lists(catalogue, image) == ("", "b")
    assert catalogue.fingerprints(image.image_id) is None
    assert [(item.store_id, item.error) for item in catalogue.failures(image.image_id)] == [("b", "StoreFull")]
    (kept,) = catalogue.leftovers()
    assert (kept.image_id, kept.leftover) == (image.image_id, Leftover("c", "part-17", "connection refused \\udcff"))
    again = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    catalogue.begin(again, ["a", "b", "c"], importing=True)


def test_failure_restores_an_active_image(catalogue: Catalogue, imported: Image) -> None:
    """AC5: the old location stays, also if the copy was told to write and to add it again."""
    task = copying(catalogue, imported, "b", "a")
    catalogue.verified(task, *CONTENT)
    catalogue.committed(task, at("a"))
    catalogue.add_location(task, at("a"), activate=False)
    catalogue.add_location(task, at("b"), activate=True)
    catalogue.record_failure(task, FULL)
    assert earlier(catalogue.get_image(imported.image_id)) == earlier(imported)
    assert catalogue.fingerprints(imported.image_id) == CONTENT[4]


def test_a_task_that_never_began_fails_too(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.record_failure(task, FULL, [Leftover("b", "t", "r")])
    assert lists(catalogue, image) == (None, "b")
    assert earlier(catalogue.get_image(image.image_id)) == earlier(image)


class TestActiveImpliesData:
    """Invariant 1 and AC11 (bug 1889640)."""

    def test_nothing_verified(self, catalogue: Catalogue, image: Image, task: Task) -> None:
        catalogue.begin(task, ["a"], importing=True)
        before = catalogue.get_image(image.image_id)
        for call in (
            lambda: catalogue.add_location(task, at("a"), activate=True),
            lambda: catalogue.record_success(task, [at("a")]),
        ):
            with pytest.raises(CatalogueError, match="not been verified"):
                call()
        assert catalogue.get_image(image.image_id) == before

    def test_no_bytes(self, catalogue: Catalogue, task: Task) -> None:
        catalogue.begin(task, ["a"], importing=True)
        with pytest.raises(EmptyImage):
            catalogue.verified(task, 0, None, "sha512", "0", None)

    def test_no_location(self, catalogue: Catalogue, task: Task) -> None:
        catalogue.begin(task, ["a"], importing=True)
        catalogue.verified(task, *CONTENT)
        with pytest.raises(CatalogueError, match="no store succeeded"):
            catalogue.record_success(task, [], {"a": ("StoreFull", "full")})

    def test_the_only_location_of_an_active_image_stays(self, catalogue: Catalogue, imported: Image) -> None:
        """AC29."""
        task = catalogue.acquire(imported.image_id, Task.here(imported.image_id, Operation.DELETE)).task
        with pytest.raises(InvalidRequest, match="only store"):
            catalogue.remove_location(task, at("a"))
        assert catalogue.get_image(imported.image_id).locations == (at("a"),)

    @pytest.mark.parametrize("size", ["0", "NULL"])
    def test_the_database_itself_refuses(self, catalogue: Catalogue, image: Image, size: str) -> None:
        with pytest.raises(CatalogueError), catalogue._database.write() as connection:
            connection.exec_driver_sql(f"UPDATE images SET status = 'active', size = {size}")

    def test_the_last_look_before_a_commit(self, catalogue: Catalogue, image: Image, task: Task) -> None:
        with catalogue._database.write() as connection:  # as no operation of ours would leave it
            connection.exec_driver_sql("UPDATE images SET status = 'active', size = 5")
        with pytest.raises(CatalogueError, match="without data"):
            catalogue.begin(task, ["a"], importing=False)


def test_a_copy_that_differs_is_refused(catalogue: Catalogue, imported: Image) -> None:
    """Glance's hash agreement: each later store is compared with what the image records."""
    task = copying(catalogue, imported, "b")
    size, checksum, algorithm, value, found = CONTENT
    for other in ((6, checksum, algorithm, value), (size, "d" * 32, algorithm, value), (size, checksum, algorithm, "cd")):
        catalogue.verified(task, *other, found)
        with pytest.raises(DigestMismatch):
            catalogue.record_success(task, [at("b")])
    catalogue.verified(task, size, None, "sha256", "ee", Fingerprints(1 << 20, b"g" * 16))
    catalogue.record_success(task, [at("b")])
    after = catalogue.get_image(imported.image_id)
    assert earlier(after)[:6] == earlier(imported)[:6]
    assert after.stores == ("a", "b")
    assert catalogue.fingerprints(imported.image_id) == CONTENT[4]


def test_a_copy_fills_in_what_an_old_record_lacks(catalogue: Catalogue, imported: Image) -> None:
    with catalogue._database.write() as connection:
        connection.exec_driver_sql("UPDATE images SET checksum = NULL, os_hash_algo = NULL, os_hash_value = NULL")
        connection.exec_driver_sql("DELETE FROM fingerprints")
    task = copying(catalogue, imported, "b")
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("b")])
    assert earlier(catalogue.get_image(imported.image_id))[:6] == earlier(imported)[:6]
    assert catalogue.fingerprints(imported.image_id) == CONTENT[4]


def test_a_location_is_removed_by_its_holder(catalogue: Catalogue, imported: Image) -> None:
    task = copying(catalogue, imported, "größe")
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("größe")])
    assert catalogue.get_image(imported.image_id).stores == ("a", "größe")
    with pytest.raises(InvalidRequest, match="no such location"):
        catalogue.remove_location(task, Location("file:///elsewhere", "a"))
    catalogue.remove_location(task, at("a"))
    assert catalogue.get_image(imported.image_id).locations == (at("größe"),)


def test_the_journal_tells_what_to_undo(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["b", "a"], importing=True)
    catalogue.opened(task, {"a": "tmp-1"})
    catalogue.opened(task, {"a": "tmp-2"})  # a second attempt: both may have left something
    catalogue.verified(task, *CONTENT)
    catalogue.committed(task, at("a"))
    catalogue.add_location(task, at("a"), activate=False)
    (left,) = catalogue.interrupted()
    assert (left.image, left.task) == (catalogue.get_image(image.image_id), task)
    assert left.journal is not None
    assert [(entry.event, entry.trace, entry.location) for entry in left.journal.entries] == [
        (Event.OPENED, "tmp-1", None),
        (Event.OPENED, "tmp-2", None),
        (Event.COMMITTED, None, at("a")),
        (Event.RECORDED, None, at("a")),
    ]
    assert (left.journal.stores, left.journal.importing, left.journal.earlier_status) == (("a", "b"), True, Status.QUEUED)
    assert left.journal.earlier == Content(None, None, None, None, None)
    assert left.journal.verified == Content(5, None, *CONTENT[1:4])


def test_stores_outside_the_operation_are_refused(catalogue: Catalogue, task: Task) -> None:
    """AC4: failed stores are among the requested ones."""
    catalogue.begin(task, ["a"], importing=True)
    catalogue.verified(task, *CONTENT)
    for call in (
        lambda: catalogue.opened(task, {"b": "t"}),
        lambda: catalogue.committed(task, at("b")),
        lambda: catalogue.add_location(task, at("b"), activate=False),
        lambda: catalogue.record_success(task, [at("a")], FULL),
        lambda: catalogue.record_failure(task, FULL),
    ):
        with pytest.raises(InvalidRequest, match="'b'"):
            call()


@pytest.mark.parametrize("metadata", [{"a": 1}, {"a": None}, {1: "a"}, {"a": [b"b"]}, {"a": {"b": 2.5}}])
def test_metadata_that_glance_store_refuses(catalogue: Catalogue, task: Task, metadata: dict[str, object]) -> None:
    """AC27."""
    catalogue.begin(task, ["a"], importing=True)
    with pytest.raises(InvalidRequest, match="metadata"):
        catalogue.committed(task, Location("file:///x", "a", metadata))


def test_leftovers_outlive_their_image_until_removed(catalogue: Catalogue, image: Image) -> None:
    first, second = Leftover("a", "t1", "busy"), Leftover("a", "t2", "busy")
    catalogue.record_leftovers(image.image_id, [first, second])
    catalogue.record_leftovers(image.image_id, [Leftover("a", "t1", "still busy")])
    catalogue.delete_image(image.image_id)
    kept = catalogue.leftovers()
    assert [(item.leftover.trace, item.leftover.reason) for item in kept] == [("t2", "busy"), ("t1", "still busy")]
    assert catalogue.remove_leftover(kept[0].number)
    assert not catalogue.remove_leftover(kept[0].number)
    assert [item.leftover.trace for item in catalogue.leftovers()] == ["t1"]


# -- deletions --------------------------------------------------------------------------------------------------------------------


def deleting(catalogue: Catalogue, image: Image) -> Task:
    return catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.DELETE)).task


def active_in(catalogue: Catalogue, image: Image, *stores: str) -> None:
    """Beside the store `a`."""
    task = copying(catalogue, image, *stores)
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at(store_id) for store_id in stores])
    catalogue.release(task)


@pytest.mark.parametrize("end", ["remove_location", "kept"])
def test_a_deletion_is_told_of_until_its_end_is_recorded(catalogue: Catalogue, imported: Image, end: str) -> None:
    active_in(catalogue, imported, "b")
    task = deleting(catalogue, imported)
    assert [found.deletion for found in catalogue.interrupted()] == [None]
    catalogue.deleting(task, at("b"), whole_image=False)
    assert [found.deletion for found in catalogue.interrupted()] == [Deletion((at("b"),), whole_image=False)]
    with pytest.raises(CatalogueError, match="not recorded, so it stays locked"):
        catalogue.release(task)
    getattr(catalogue, end)(task, at("b"))
    assert [found.deletion for found in catalogue.interrupted()] == [None]
    catalogue.release(task)
    assert catalogue.get_image(imported.image_id).stores == (("a",) if end == "remove_location" else ("a", "b"))


def test_the_deletion_of_a_whole_image_goes_with_its_record(catalogue: Catalogue, imported: Image) -> None:
    active_in(catalogue, imported, "b")
    task = deleting(catalogue, imported)
    for store_id in "ab":
        catalogue.deleting(task, at(store_id), whole_image=True)
    assert [found.deletion for found in catalogue.interrupted()] == [Deletion((at("a"), at("b")), whole_image=True)]
    catalogue.delete_image(imported.image_id, task)
    catalogue.release(task)
    assert catalogue.interrupted() == []


def test_a_deletion_comes_with_the_lock_of_the_dead(catalogue: Catalogue, imported: Image) -> None:
    task = Task.here(imported.image_id, Operation.DELETE)
    dead = dataclasses.replace(task, process=dataclasses.replace(task.process, started=1))
    dead = catalogue.acquire(imported.image_id, dead).task
    catalogue.deleting(dead, at("a"), whole_image=True)
    catalogue.take_over(imported.image_id, Task.here(imported.image_id, Operation.RECOVER))
    assert [found.deletion for found in catalogue.interrupted()] == [Deletion((at("a"),), whole_image=True)]
    with pytest.raises(LockLost):
        catalogue.deleting(dead, at("a"), whole_image=True)


def test_who_writes_data_can_not_delete_any(catalogue: Catalogue, imported: Image) -> None:
    task = copying(catalogue, imported, "b")
    with pytest.raises(CatalogueError, match="is writing data"):
        catalogue.deleting(task, at("a"), whole_image=False)
