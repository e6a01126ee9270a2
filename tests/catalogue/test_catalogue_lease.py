"""The lease and the fence (AC21, AC22): who is silent for too long loses the image to the next who wants it, and writes no more."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from catalogue_words import CONTENT, FULL, at
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from glance_stream.catalogue import Catalogue, Event, Operation, Task, locks, tables, tasks
from glance_stream.errors import ImageLocked, LockLost
from glance_stream.model import Image

IMAGE_ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def nobody_is_known_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every holder is on another host, as it were."""
    for module in ("glance_stream.catalogue", "glance_stream.catalogue.tasks"):
        monkeypatch.setattr(f"{module}.holder_is_dead", lambda task: False)


def a_task(image_id: str = IMAGE_ID) -> Task:
    return Task.here(image_id, Operation.IMPORT)


def expire(catalogue: Catalogue, task: Task) -> None:
    """As if its lease had passed without a word from it."""
    catalogue.renew(task, idle=catalogue.lease + 1)


def test_the_lease_runs_by_the_databases_clock(catalogue: Catalogue, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host clocks that are hours off, of the holder or of the taker, make no difference."""
    real = tables.now
    monkeypatch.setattr(tasks, "now", lambda: real() - timedelta(hours=5))
    held = catalogue.acquire(image.image_id, a_task(image.image_id)).task
    assert held.expires_at is not None
    assert abs(held.expires_at - held.started_at - timedelta(hours=1)) < timedelta(seconds=1)  # two readings of one clock
    assert abs(held.started_at - real()) < timedelta(hours=4)
    monkeypatch.setattr(tasks, "now", lambda: real() + timedelta(hours=5))
    with pytest.raises(ImageLocked):
        catalogue.take_over(image.image_id, a_task(image.image_id))


def test_an_expired_lease_is_taken_over_with_its_journal(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["a"], importing=True)
    catalogue.opened(task, {"a": "trace of a"})
    expire(catalogue, task)
    silent = catalogue.holder(image.image_id)
    assert silent is not None
    assert silent.is_expired
    with pytest.raises(ImageLocked, match="lease has ended: run"):
        catalogue.acquire(image.image_id, a_task(image.image_id))
    lock = catalogue.take_over(image.image_id, a_task(image.image_id))
    assert lock.taken_from == silent
    assert lock.task.fence == task.fence + 1
    (left,) = catalogue.interrupted()
    assert left.journal is not None
    assert [(entry.event, entry.trace) for entry in left.journal.entries] == [(Event.OPENED, "trace of a")]


def test_who_was_silent_writes_nothing_any_more(catalogue: Catalogue, image: Image, task: Task) -> None:
    """AC22. Also not after the image has gone through other hands and is free again."""
    catalogue.begin(task, ["a"], importing=True)
    expire(catalogue, task)
    taker = catalogue.take_over(image.image_id, a_task(image.image_id)).task
    writes: list[Callable[[], object]] = [
        lambda: catalogue.renew(task),
        lambda: catalogue.require(task),
        lambda: catalogue.opened(task, {"a": "trace"}),
        lambda: catalogue.verified(task, *CONTENT),
        lambda: catalogue.committed(task, at("a")),
        lambda: catalogue.record_success(task, [at("a")]),
        lambda: catalogue.record_failure(task, FULL),
        lambda: catalogue.delete_image(image.image_id, task),
    ]
    for write in writes:
        with pytest.raises(LockLost):
            write()
    catalogue.release(task)  # of what it does not hold any more
    assert catalogue.holder(image.image_id) == taker
    catalogue.record_failure(taker, {})
    catalogue.release(taker)
    for write in writes:
        with pytest.raises(LockLost):
            write()


def test_a_fence_of_the_past_is_refused_whatever_the_task(catalogue: Catalogue, image: Image, task: Task) -> None:
    for stale in (task.fence - 1, task.fence + 1):
        other = dataclasses.replace(task, fence=stale)
        for write in (catalogue.require, catalogue.renew):
            with pytest.raises(LockLost):
                write(other)


def test_a_silent_holder_that_speaks_first_keeps_its_image(catalogue: Catalogue, image: Image, task: Task) -> None:
    expire(catalogue, task)
    catalogue.renew(task)
    with pytest.raises(ImageLocked):
        catalogue.take_over(image.image_id, a_task(image.image_id))
    catalogue.require(task)


def test_a_holder_that_speaks_while_it_is_judged_keeps_its_image(
    catalogue: Catalogue, image: Image, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The taker has seen an expired lease; whether it still is, is asked in the transaction that takes it."""
    expire(catalogue, task)

    def speak(_: Task) -> bool:
        catalogue.renew(task)
        return False

    monkeypatch.setattr("glance_stream.catalogue.holder_is_dead", speak)
    with pytest.raises(ImageLocked, match="at work again"):
        catalogue.take_over(image.image_id, a_task(image.image_id))
    catalogue.require(task)


@pytest.mark.parametrize(("minutes", "expired"), [(59, False), (61, True)])
def test_a_task_of_the_version_before_leases_is_held_for_an_hour(
    catalogue: Catalogue, image: Image, task: Task, minutes: int, expired: bool
) -> None:
    """It may be at work in a catalogue that was migrated under it, and signs of life are what it knew."""
    with catalogue._database.write() as connection:
        values = {"expires_at": tasks.NEVER_LEASED, "updated_at": tables.now() - timedelta(minutes=minutes)}
        connection.execute(tables.tasks.update().where(tables.tasks.c.id == task.id).values(values))
    held = catalogue.holder(image.image_id)
    assert held is not None
    assert held.is_expired == expired
    if expired:
        assert catalogue.take_over(image.image_id, a_task(image.image_id)).taken_from == held
        return
    until = (held.updated_at + timedelta(hours=1)).isoformat(timespec="seconds")
    with pytest.raises(ImageLocked, match=f"taken over at {until}".replace("+", r"\+")):
        catalogue.take_over(image.image_id, a_task(image.image_id))
    with pytest.raises(ImageLocked, match="at work again"), catalogue._database.write() as connection:
        locks.take_over(connection, held, a_task(image.image_id), 60, dead=False)
    assert catalogue.holder(image.image_id) == held


def test_time_without_progress_is_off_the_lease(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.renew(task, "flushing", {"phase": "flushing"}, idle=600)
    held = catalogue.holder(image.image_id)
    assert held is not None
    assert held.expires_at is not None
    assert abs(held.expires_at - held.updated_at - timedelta(seconds=catalogue.lease - 600)) < timedelta(seconds=1)
    assert (held.message, held.progress) == ("flushing", {"phase": "flushing"})


def test_the_refusal_says_as_much_as_is_known(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.renew(task, "transferring, 12 MiB of 40 MiB")
    held = catalogue.holder(image.image_id)
    assert held is not None
    assert held.expires_at is not None
    with pytest.raises(ImageLocked) as refused:
        catalogue.acquire(image.image_id, a_task(image.image_id))
    for word in (
        "import by process",
        held.started_at.isoformat(timespec="seconds"),
        f"last sign of life at {held.updated_at.isoformat(timespec='seconds')}",
        "transferring, 12 MiB of 40 MiB",
        f"may be taken over at {held.expires_at.isoformat(timespec='seconds')}",
    ):
        assert word in str(refused.value)


class FenceMachine(RuleBasedStateMachine):
    """Several holders whose leases end: at any time at most one of them can write, and it is the one that took the image last."""

    catalogue: Catalogue

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Task] = []  # every task that ever held the image
        self.holder: Task | None = None
        self.expired = False

    @initialize()
    def open(self) -> None:
        self.image_id = str(uuid.uuid4())
        self.catalogue.create_image(self.image_id, name=None, disk_format="raw", container_format="bare")

    def got(self, task: Task) -> None:
        self.all.append(task)
        self.holder, self.expired = task, False

    @rule()
    def acquire(self) -> None:
        try:
            task = self.catalogue.acquire(self.image_id, a_task(self.image_id)).task
        except ImageLocked:
            assert self.holder is not None
        else:
            assert self.holder is None
            self.got(task)

    @rule()
    def take_over(self) -> None:
        try:
            lock = self.catalogue.take_over(self.image_id, a_task(self.image_id))
        except ImageLocked:
            assert self.holder is not None
            assert not self.expired
        else:
            assert self.holder is None or self.expired
            assert (lock.taken_from and lock.taken_from.id) == (self.holder and self.holder.id)
            self.got(lock.task)

    @precondition(lambda self: self.holder is not None)
    @rule()
    def fall_silent(self) -> None:
        assert self.holder is not None
        expire(self.catalogue, self.holder)
        self.expired = True

    @precondition(lambda self: self.all)
    @rule(draw=st.data())
    def speak(self, draw: st.DataObject) -> None:
        task = draw.draw(st.sampled_from(self.all))
        try:
            self.catalogue.renew(task)
        except LockLost:
            assert task is not self.holder
        else:
            assert task is self.holder
            self.expired = False

    @precondition(lambda self: self.all)
    @rule(draw=st.data())
    def let_go(self, draw: st.DataObject) -> None:
        task = draw.draw(st.sampled_from(self.all))
        self.catalogue.release(task)
        if task is self.holder:
            self.holder = None

    @invariant()
    def only_the_last_taker_writes(self) -> None:
        writing = []
        for task in self.all:
            try:
                self.catalogue.require(task)
            except LockLost:
                continue
            writing.append(task)
        assert writing == ([] if self.holder is None else [self.holder])
        assert all(earlier.fence < later.fence for earlier, later in pairwise(self.all))


def test_never_two_who_can_write(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FenceMachine, "catalogue", catalogue, raising=False)
    run_state_machine_as_test(FenceMachine, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))
