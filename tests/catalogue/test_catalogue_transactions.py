"""Transactions on every database: kept whole or not at all, one state throughout, and back as they were written."""

from __future__ import annotations

import threading
import uuid

import pytest
from catalogue_words import CONTENT, at

from glance_stream.catalogue import Catalogue, Operation, Task
from glance_stream.errors import ImageLocked, InvalidRequest
from glance_stream.model import Image


def add_image(catalogue: Catalogue) -> Image:
    return catalogue.create_image(str(uuid.uuid4()), name=None, disk_format=None, container_format=None)


def test_records_outlive_the_process_that_made_them(url: str) -> None:
    with Catalogue(url) as catalogue:
        image = add_image(catalogue)
    with Catalogue(url) as catalogue:
        assert catalogue.list_images() == [image]


def test_a_reader_sees_one_state_and_is_not_held_up_by_a_writer(catalogue: Catalogue) -> None:
    with catalogue._database.write() as writer, catalogue._database.read() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM images").scalar() == 0
        writer.exec_driver_sql("INSERT INTO leftovers VALUES (1, 'i', 's', 't', 'r', '2026-01-01 00:00:00.000000')")
        assert catalogue.leftovers() == []
    assert len(catalogue.leftovers()) == 1


def test_a_transaction_that_fails_leaves_nothing(catalogue: Catalogue) -> None:
    def fail_half_way() -> None:
        with catalogue._database.write() as connection:
            connection.exec_driver_sql("INSERT INTO leftovers VALUES (1, 'i', 's', 't', 'r', '2026-01-01 00:00:00.000000')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert catalogue.leftovers() == []


def test_threads_share_a_catalogue(catalogue: Catalogue, image: Image) -> None:
    """Each thread takes the lock, adds to a counter, and lets go; no addition is lost."""
    together = threading.Barrier(8)
    problems: list[BaseException] = []

    def count() -> None:
        try:
            together.wait()
            for _ in range(3):
                task = Task.here(image.image_id, Operation.COPY)
                while True:
                    try:
                        catalogue.acquire(image.image_id, task)
                    except ImageLocked:
                        continue
                    break
                before = catalogue.get_image(image.image_id).properties.get("count", "0")
                catalogue.update_properties(image.image_id, {"count": str(int(before) + 1)})
                catalogue.release(task)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert catalogue.get_image(image.image_id).properties["count"] == "24"


def test_text_that_is_not_unicode_is_refused(catalogue: Catalogue, image: Image) -> None:
    task = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    catalogue.begin(task, ["a"], importing=True)
    with pytest.raises(InvalidRequest, match="can't be stored"):
        catalogue.opened(task, {"a": "/srv/\udcff"})
    with pytest.raises(InvalidRequest, match="can't be stored"):
        catalogue.verified(task, 1 << 64, *CONTENT[1:])
    catalogue.record_failure(task, {"a": ("StoreError", "/srv/\udcff\0")})
    assert catalogue.failures(image.image_id)[0].message == "/srv/\\udcff\\0"


def test_closing_twice(url: str) -> None:
    catalogue = Catalogue(url)
    catalogue.close()
    catalogue.close()


def test_case_and_spaces_tell_stores_apart(catalogue: Catalogue, image: Image) -> None:
    task = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    catalogue.begin(task, ["a", "A", "a b"], importing=True)
    catalogue.verified(task, *CONTENT)
    catalogue.record_success(task, [at("a"), at("A"), at("a b")])
    assert catalogue.get_image(image.image_id).stores == ("A", "a", "a b")
