"""How few transactions one import takes, and that it dies between any two of them without a loss."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from importing_words import House, assert_holds, assert_settled, content, run, state, until
from sqlalchemy import event

from glance_stream.catalogue import Operation, Task
from glance_stream.errors import CatalogueError, LockLost, SourceError
from glance_stream.importing import ImportRequest, import_image, lease, recover
from glance_stream.importing.lease import Lease
from glance_stream.importing.recording import CatalogueRecorder
from glance_stream.model import Location, Status

DATA = content()

# Of an import into three stores. At most, since the last two commits may each come while no record is made.
TRANSACTIONS = 6
STATEMENTS = 42  # with each BEGIN and COMMIT

# argv: root, method of the catalogue, and whether the process dies before it or after.
DYING = """
import sys
from pathlib import Path
from glance_stream.importing import ImportRequest, import_image
from importing_words import content, die, open_house, run
root, method, when = sys.argv[1:]
house = open_house(Path(root))
real = getattr(house.catalogue, method)

def dies(*given, **named):
    if when == "after":
        real(*given, **named)
    die()

setattr(house.catalogue, method, dies)
run(import_image(house.site, ImportRequest(house.source(content()), all_stores=True)))
"""


@pytest.fixture
def statements(house: House) -> Iterator[list[str]]:
    """What the catalogue's database is told, with each commit."""
    house.import_(DATA, all_stores=True)  # what is done once only has been done
    engine, told = house.catalogue._database._engine, list[str]()

    def execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        told.append(statement)

    def commit(_: object) -> None:
        told.append("COMMIT")

    event.listen(engine, "before_cursor_execute", execute)
    event.listen(engine, "commit", commit)
    yield told
    event.remove(engine, "before_cursor_execute", execute)
    event.remove(engine, "commit", commit)


def test_an_import_takes_few_statements(house: House, statements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(house.catalogue), "look", lambda *_: None)  # which asks of its own accord
    image = house.import_(DATA, all_stores=True).image
    counted = list(statements)
    assert counted.count("COMMIT") <= TRANSACTIONS, "\n".join(counted)
    assert len(counted) <= STATEMENTS, "\n".join(counted)
    assert image.stores == ("a", "b", "c")


@pytest.mark.parametrize("best_effort", [False, True])
def test_what_an_import_gives_is_what_is_recorded(house: House, best_effort: bool) -> None:
    """Of one with properties that was there before, and of one that is created."""
    before = house.queued(properties={"os": "linux"})
    for image_id in (before.image_id, None):
        told = house.import_(DATA, image_id=image_id, all_stores=True, all_stores_must_succeed=not best_effort).image
        assert told == house.image(told.image_id)


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("create_and_begin", "after"),
        ("opened", "before"),
        ("opened", "after"),
        ("verified", "after"),
        ("committed", "before"),
        ("committed", "after"),
        ("record_success", "before"),
        ("record_success", "after"),
    ],
)
def test_a_process_dies_at_a_record(house: House, python: Callable[..., subprocess.Popen[str]], method: str, when: str) -> None:
    assert python(DYING, house.root, method, when).wait(timeout=60) == -9
    run(recover(house.site))
    [image] = house.catalogue.list_images()
    if (method, when) == ("record_success", "after"):
        assert_holds(house, image.image_id, DATA, "a", "b", "c")
    else:
        assert (image.status, image.size, image.locations) == (Status.QUEUED, None, ())
        assert house.files() == []
    assert_settled(house, image.image_id, "abc")
    assert house.catalogue.interrupted() == []
    assert house.catalogue.leftovers() == []


def test_an_import_that_was_begun_at_its_creation_ends_with_it(house: House) -> None:
    """Whatever happens before a byte is read."""

    def held(_: str) -> None:
        raise SourceError("the user has gone")

    with pytest.raises(SourceError):
        run(import_image(house.site, ImportRequest(house.source(DATA), all_stores=True), held=held))
    [image] = house.catalogue.list_images()
    assert image.status is Status.QUEUED
    assert_settled(house, image.image_id, "")


def test_a_cancellation_while_the_image_is_created(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes effect once the image is there, which is then queued and free."""
    entered, go, create = threading.Event(), threading.Event(), house.catalogue.create_and_begin

    def slow(*given: Any, **named: Any) -> Any:
        entered.set()
        assert go.wait(10)
        return create(*given, **named)

    monkeypatch.setattr(house.catalogue, "create_and_begin", slow)

    async def cancelled() -> None:
        importing = asyncio.ensure_future(import_image(house.site, ImportRequest(house.source(DATA), all_stores=True)))
        await until(entered)
        importing.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await importing

    run(cancelled())
    [image] = house.catalogue.list_images()
    assert image.status is Status.QUEUED
    assert house.files() == []
    assert_settled(house, image.image_id, "")


def test_a_renewal_that_meets_the_release_is_no_loss(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is let go of with the outcome; a renewal that comes before that is heard of finds no task any more."""
    catalogue = house.catalogue
    succeed, renew, refused = catalogue.record_success, catalogue.renew, threading.Event()
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.02)

    def slow(*given: Any, **named: Any) -> Any:
        done = succeed(*given, **named)
        assert refused.wait(10)
        time.sleep(0.05)
        return done

    def watched(*given: Any, **named: Any) -> None:
        try:
            renew(*given, **named)
        except LockLost:
            refused.set()
            raise

    monkeypatch.setattr(catalogue, "record_success", slow)
    monkeypatch.setattr(catalogue, "renew", watched)
    image = house.import_(DATA, all_stores=True).image
    assert_holds(house, image.image_id, DATA, "a", "b", "c")


def test_a_release_that_failed_is_lost_with_the_lock(house: House) -> None:
    """A renewal that is refused while the outcome is recorded counts, once that was not recorded."""
    image = house.queued()
    task = house.catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task

    async def meet() -> None:
        hold = Lease(house.catalogue, task)
        with pytest.raises(CatalogueError):
            async with hold.letting_go():
                raise CatalogueError("away")
        assert not hold.is_released

    run(meet())
    house.catalogue.release(task)


class Blocked:
    """A catalogue whose records of commits wait."""

    def __init__(self) -> None:
        self.records: list[tuple[str, ...]] = []
        self.entered, self.go = threading.Event(), threading.Event()

    def opened(self, *_: object) -> None:
        pass

    def committed(self, _: object, *locations: Location) -> None:
        self.records.append(tuple(location.store_id for location in locations))
        self.entered.set()
        assert self.go.wait(10)


def test_commits_that_come_during_a_record_share_the_next_one(house: House) -> None:
    """And the last of all needs none, since the outcome follows."""
    image = house.queued()
    task = house.catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    catalogue: Any = Blocked()

    async def commit() -> None:
        recorder = CatalogueRecorder(catalogue, Lease(house.catalogue, task), best_effort=False)
        await recorder.opened({store_id: f"trace of {store_id}" for store_id in "abcde"})
        first = asyncio.ensure_future(recorder.committed(Location("a", "a")))
        await until(catalogue.entered)
        others = [asyncio.ensure_future(recorder.committed(Location(name, name))) for name in "bc"]
        await asyncio.sleep(0)
        catalogue.go.set()
        await asyncio.gather(first, *others)
        await recorder.committed(Location("d", "d"))
        await recorder.committed(Location("e", "e"))

    run(commit())
    assert catalogue.records == [("a",), ("b", "c"), ("d",)]
    house.catalogue.release(task)
    assert state(house.image(image.image_id)) == state(image)
