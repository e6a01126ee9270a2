"""Any sequence of operations on one image, against a model of it: the invariants hold in the database after each of them."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from catalogue_words import CONTENT, at
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from glance_stream.catalogue import Catalogue, Operation, Task
from glance_stream.errors import CatalogueError, GlanceStreamError, InvalidRequest, Leftover, LockLost
from glance_stream.model import FAILED_IMPORT, IMPORT_TASK, IMPORTING_TO_STORES, Image, Location, Status

IMAGE_ID = "00000000-0000-4000-8000-000000000000"
STORES = ("a", "b", "größe", "Z")
subsets = st.lists(st.sampled_from(STORES), unique=True, min_size=1)
memory = Path("/dev/shm")  # each commit is an fsync, whose cost is the disk's and not ours to test


@dataclasses.dataclass(frozen=True)
class State:
    """What the image must be."""

    status: Status = Status.QUEUED
    size: int | None = None
    hash: str | None = None
    locations: tuple[Location, ...] = ()


class CatalogueMachine(RuleBasedStateMachine):
    def __init__(self, url: str = "") -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
        self.catalogue = Catalogue(url or f"sqlite:///{self.directory}/catalogue.db")
        self.catalogue.create_image(IMAGE_ID, name=None, disk_format="raw", container_format="bare")
        self.state = State()
        self.before = State()
        self.importing: set[str] = set()
        self.failed: set[str] = set()
        self.requested: list[str] = []
        self.verified = False
        self.holder: Task | None = None
        self.losers: list[Task] = []
        self.users: dict[str, str] = {}
        self.leftovers = 0

    def teardown(self) -> None:
        self.catalogue.close()
        shutil.rmtree(self.directory)

    @property
    def began(self) -> bool:
        return bool(self.requested)

    # Who holds the image

    @precondition(lambda self: self.holder is None)
    @rule()
    def acquire(self) -> None:
        self.holder = self.catalogue.acquire(IMAGE_ID, Task.here(IMAGE_ID, Operation.IMPORT)).task

    @precondition(lambda self: self.holder is None)
    @rule()
    def acquire_and_die(self) -> None:
        task = Task.here(IMAGE_ID, Operation.IMPORT)
        dead = dataclasses.replace(task, process=dataclasses.replace(task.process, started=1))
        self.holder = self.catalogue.acquire(IMAGE_ID, dead).task

    @precondition(lambda self: self.holder is not None and self.holder.process.started == 1)
    @rule()
    def steal(self) -> None:
        assert self.holder is not None
        lock = self.catalogue.take_over(IMAGE_ID, Task.here(IMAGE_ID, Operation.RECOVER))
        assert lock.taken_from == self.holder
        self.losers.append(self.holder)
        self.holder = lock.task

    @precondition(lambda self: self.holder is not None)
    @rule()
    def release(self) -> None:
        assert self.holder is not None
        if self.began:
            refused(CatalogueError, self.catalogue.release, self.holder)
            return
        self.catalogue.release(self.holder)
        self.losers.append(self.holder)
        self.holder = None

    @precondition(lambda self: self.losers)
    @rule(data=st.data())
    def a_loser_writes(self, data: st.DataObject) -> None:
        task, catalogue = data.draw(st.sampled_from(self.losers)), self.catalogue
        refused(LockLost, catalogue.begin, task, ["a"], importing=True)
        refused(LockLost, catalogue.verified, task, *CONTENT)
        refused(LockLost, catalogue.add_location, task, at("a"), activate=True)
        refused(LockLost, catalogue.record_success, task, [at("a")])
        refused(LockLost, catalogue.record_failure, task, {"a": ("E", "m")})
        catalogue.release(task)

    # What the holder does

    @precondition(lambda self: self.holder is not None and not self.began)
    @rule(stores=subsets, importing=st.booleans())
    def begin(self, stores: list[str], importing: bool) -> None:
        assert self.holder is not None
        if self.state.status is not (Status.QUEUED if importing else Status.ACTIVE):
            refused(InvalidRequest, self.catalogue.begin, self.holder, stores, importing=importing)
            return
        self.catalogue.begin(self.holder, stores, importing=importing)
        self.before, self.requested, self.verified = self.state, stores, False
        self.importing |= set(stores)
        self.failed -= set(stores)
        if importing:
            self.state = dataclasses.replace(self.state, status=Status.IMPORTING)

    @precondition(lambda self: self.began)
    @rule(data=st.data())
    def open_and_commit(self, data: st.DataObject) -> None:
        assert self.holder is not None
        store_id = data.draw(st.sampled_from(self.requested))
        self.catalogue.opened(self.holder, {store_id: f"trace of {store_id}"})
        self.catalogue.committed(self.holder, at(store_id))

    @precondition(lambda self: self.began)
    @rule()
    def verify(self) -> None:
        assert self.holder is not None
        self.catalogue.verified(self.holder, *CONTENT)
        self.verified = True

    @precondition(lambda self: self.began)
    @rule(data=st.data(), activate=st.booleans())
    def add_location(self, data: st.DataObject, activate: bool) -> None:
        assert self.holder is not None
        location = at(data.draw(st.sampled_from(self.requested)))
        if activate and not self.verified:
            refused(CatalogueError, self.catalogue.add_location, self.holder, location, activate=True)
            return
        self.catalogue.add_location(self.holder, location, activate=activate)
        self.importing -= {location.store_id}
        self._has([location], active=activate)

    @precondition(lambda self: self.began)
    @rule(data=st.data())
    def record_success(self, data: st.DataObject) -> None:
        assert self.holder is not None
        held = data.draw(st.lists(st.sampled_from(self.requested), unique=True))
        failed = {store_id: ("StoreFull", "full") for store_id in self.requested if store_id not in held}
        added = self.state.locations[len(self.before.locations) :]
        if not self.verified or (not held and not added):
            refused(CatalogueError, self.catalogue.record_success, self.holder, [at(item) for item in held], failed)
            return
        self.catalogue.record_success(self.holder, [at(item) for item in held], failed)
        self._has([at(item) for item in held], active=True)
        self._end(failed)

    @precondition(lambda self: self.began)
    @rule(data=st.data())
    def record_failure(self, data: st.DataObject) -> None:
        assert self.holder is not None
        names = data.draw(st.lists(st.sampled_from(self.requested), unique=True))
        failed = dict.fromkeys(names, ("StoreFull", "full"))
        self.leftovers += 1
        self.catalogue.record_failure(self.holder, failed, [Leftover("a", f"trace {self.leftovers}", "busy")])
        self.state = self.before
        self._end(failed)

    @precondition(lambda self: self.holder is not None and not self.began)
    @rule(store_id=st.sampled_from(STORES))
    def remove_location(self, store_id: str) -> None:
        assert self.holder is not None
        rest = tuple(item for item in self.state.locations if item != at(store_id))
        if rest == self.state.locations or not rest:
            refused(InvalidRequest, self.catalogue.remove_location, self.holder, at(store_id))
            return
        self.catalogue.remove_location(self.holder, at(store_id))
        self.state = dataclasses.replace(self.state, locations=rest)

    @rule(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5))
    def annotate(self, value: str) -> None:
        """Anyone may, at any time."""
        self.catalogue.update_properties(IMAGE_ID, {"note": value})
        self.users["note"] = value

    def _has(self, locations: list[Location], *, active: bool) -> None:
        new = tuple(item for item in locations if item not in self.state.locations)
        self.state = dataclasses.replace(self.state, locations=self.state.locations + new)
        if active:
            self.state = dataclasses.replace(self.state, status=Status.ACTIVE, size=CONTENT[0], hash=CONTENT[3])

    def _end(self, failed: dict[str, Any]) -> None:
        self.importing -= set(self.requested)
        self.failed |= set(failed)
        self.requested = []

    # What always holds

    @invariant()
    def the_record_is_the_model(self) -> None:
        image: Image = self.catalogue.get_image(IMAGE_ID)
        assert State(image.status, image.size, image.os_hash_value, image.locations) == self.state
        assert image.status is not Status.ACTIVE or (image.locations and image.size)
        properties = dict(image.properties)
        assert properties.pop(IMPORT_TASK, None) == (self.holder and self.holder.id)
        assert properties.pop(IMPORTING_TO_STORES, "") == ",".join(sorted(self.importing))
        assert properties.pop(FAILED_IMPORT, "") == ",".join(sorted(self.failed))
        assert properties == self.users

    @invariant()
    def an_end_leaves_nothing_open(self) -> None:
        if not self.began:
            assert self.importing == set()
            assert [left.journal for left in self.catalogue.interrupted()] == [None] * (self.holder is not None)
        assert {item.store_id for item in self.catalogue.failures(IMAGE_ID)} == self.failed
        assert len(self.catalogue.leftovers()) == self.leftovers
        assert (self.catalogue.fingerprints(IMAGE_ID) is not None) == (self.state.size is not None)


def refused(kind: type[GlanceStreamError], call: Any, *arguments: Any, **options: Any) -> None:
    with contextlib.suppress(kind):
        call(*arguments, **options)
        raise AssertionError(f"{call.__name__} was not refused")


TestCatalogueMachine = CatalogueMachine.TestCase
TestCatalogueMachine.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_the_same_on_a_server(request: pytest.FixtureRequest, shared_databases: Callable[[Any], Any], server: str) -> None:
    database = shared_databases(request.getfixturevalue(server))
    few = settings(TestCatalogueMachine.settings, max_examples=4, stateful_step_count=20)
    run_state_machine_as_test(lambda: CatalogueMachine(database.emptied()), settings=few)
