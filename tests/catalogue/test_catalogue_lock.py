"""The lock: one holder, and a holder whose process lives and whose lease runs keeps it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue_words import CONTENT, FULL, at

from glance_stream.catalogue import Catalogue, Event, Operation, Process, Task, holder_is_dead, tasks
from glance_stream.errors import CatalogueError, ImageLocked, InvalidRequest, LockLost
from glance_stream.model import IMPORT_TASK, Image, Status

Python = Callable[..., "subprocess.Popen[str]"]

HOLD = """
import sys
from glance_stream.catalogue import Catalogue, Task
url, image_id = sys.argv[1:]
catalogue = Catalogue(url)
task = catalogue.acquire(image_id, Task.here(image_id, "import")).task
catalogue.begin(task, ["a", "b"], importing=True)
catalogue.opened(task, {"a": "trace of a"})
print(task.id, flush=True)
sys.stdin.read()
"""
RACE = """
import sys, time
from glance_stream.catalogue import Catalogue, Task
from glance_stream.errors import ImageLocked
url, *image_ids = sys.argv[1:]
catalogue = Catalogue(url)
print("ready", flush=True)
sys.stdin.readline()
for image_id in image_ids:
    started = time.monotonic()
    try:
        catalogue.acquire(image_id, Task.here(image_id, "copy"))
        print("won", end=" ")
    except ImageLocked as error:
        assert time.monotonic() - started < 1 and "copy by process" in str(error), error
        print("lost", end=" ")
catalogue.close()
"""


def process_of(task: Task, **changes: object) -> Task:
    return dataclasses.replace(task, process=dataclasses.replace(task.process, **changes))  # type: ignore[arg-type]


def hold(python: Python, url: str, image: Image) -> subprocess.Popen[str]:
    holder = python(HOLD, url, image.image_id)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    return holder


def test_the_loser_is_told_at_once_who_holds_the_image(catalogue: Catalogue, image: Image, task: Task) -> None:
    assert catalogue.get_image(image.image_id).properties[IMPORT_TASK] == task.id
    started = time.monotonic()
    with pytest.raises(ImageLocked) as refused:
        catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.COPY))
    assert time.monotonic() - started < 1
    for word in ("import", str(os.getpid()), repr(task.process.host), task.started_at.isoformat(timespec="seconds")):
        assert word in str(refused.value)
    assert catalogue.holder(image.image_id) == task


def test_two_processes_race_and_one_wins(catalogue: Catalogue, url: str, python: Python) -> None:
    """AC20. Many images, so that the processes meet inside the transaction and not only before it."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(15)]
    for image_id in ids:
        catalogue.create_image(image_id, name=None, disk_format=None, container_format=None)
    racers = [python(RACE, url, *ids) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outcomes = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [sorted(pair) for pair in zip(*outcomes, strict=True)] == [["lost", "won"]] * len(ids)


def test_a_task_acquires_its_own_image_only_and_once(catalogue: Catalogue, image: Image, task: Task) -> None:
    other = catalogue.create_image("00000000-0000-4000-8000-000000000000", name=None, disk_format=None, container_format=None)
    with pytest.raises(InvalidRequest):
        catalogue.acquire(other.image_id, task)
    with pytest.raises(ImageLocked):
        catalogue.acquire(image.image_id, task)


def test_release_drops_only_its_own_lock(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.release(Task.here(image.image_id, Operation.COPY))
    assert catalogue.holder(image.image_id) == task
    catalogue.release(task)
    catalogue.release(task)
    assert catalogue.holder(image.image_id) is None
    assert IMPORT_TASK not in catalogue.get_image(image.image_id).properties
    catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.COPY))


def test_an_image_stays_locked_until_its_outcome_is_recorded(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.begin(task, ["b"], importing=True)
    with pytest.raises(CatalogueError, match="not recorded"):
        catalogue.release(task)
    catalogue.record_failure(task, FULL)
    catalogue.release(task)
    assert catalogue.get_image(image.image_id).status is Status.QUEUED


def test_touch_shows_progress_until_the_lock_is_lost(catalogue: Catalogue, image: Image, task: Task) -> None:
    catalogue.renew(task, "Copied 12 MiB")
    (held,) = catalogue.interrupted()
    assert (held.task.message, held.task.id) == ("Copied 12 MiB", task.id)
    assert held.task.updated_at > task.updated_at
    catalogue.renew(task, "\udcff\0" + "x" * 2000)
    catalogue.release(task)
    with pytest.raises(LockLost):
        catalogue.renew(task, "Copied 13 MiB")


def test_only_the_holder_writes(catalogue: Catalogue, image: Image, task: Task) -> None:
    """AC22."""
    catalogue.begin(task, ["a", "b"], importing=True)
    before = catalogue.get_image(image.image_id)
    stranger = Task.here(image.image_id, Operation.IMPORT)
    for write in (
        lambda: catalogue.begin(stranger, ["a"], importing=True),
        lambda: catalogue.opened(stranger, {"a": "trace"}),
        lambda: catalogue.verified(stranger, *CONTENT),
        lambda: catalogue.committed(stranger, at("a")),
        lambda: catalogue.add_location(stranger, at("a"), activate=False),
        lambda: catalogue.record_success(stranger, [at("a")]),
        lambda: catalogue.record_failure(stranger, FULL),
        lambda: catalogue.remove_location(stranger, at("a")),
        lambda: catalogue.renew(stranger, ""),
    ):
        with pytest.raises(LockLost):
            write()
    assert catalogue.get_image(image.image_id) == before
    catalogue.record_failure(task, {})
    catalogue.release(task)
    with pytest.raises(LockLost, match="released"):
        catalogue.begin(task, ["a"], importing=True)


def test_a_killed_holder_is_robbed_with_its_journal(catalogue: Catalogue, url: str, image: Image, python: Python) -> None:
    """AC21: at once, since the process is certainly gone."""
    holder = hold(python, url, image)
    thief = Task.here(image.image_id, Operation.RECOVER)
    with pytest.raises(ImageLocked, match=f"process {holder.pid} "):
        catalogue.take_over(image.image_id, thief)
    holder.send_signal(signal.SIGKILL)
    while Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    dead = catalogue.holder(image.image_id)
    assert dead is not None
    assert holder_is_dead(dead)  # killed, though its parent has not asked yet: a zombie
    holder.wait()
    lock = catalogue.take_over(image.image_id, thief)
    assert (lock.task.id, lock.task.fence, lock.taken_from) == (thief.id, dead.fence + 1, dead)
    (left,) = catalogue.interrupted()
    assert left.task == lock.task
    assert left.journal is not None
    assert [(entry.event, entry.trace) for entry in left.journal.entries] == [(Event.OPENED, "trace of a")]
    with pytest.raises(LockLost, match=thief.id):
        catalogue.record_success(dead, [at("a")])
    with pytest.raises(LockLost):
        catalogue.renew(dead, "")
    catalogue.record_failure(lock.task, {})
    catalogue.release(lock.task)
    assert catalogue.get_image(image.image_id).status is Status.QUEUED


def test_one_of_two_thieves_wins(catalogue: Catalogue, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the same dead holder; the second finds its lock replaced."""
    dead = process_of(Task.here(image.image_id, Operation.IMPORT), started=1)
    catalogue.acquire(image.image_id, dead)
    first, second = (Task.here(image.image_id, Operation.RECOVER) for _ in range(2))

    def overtaken(task: Task) -> bool:
        monkeypatch.undo()
        catalogue.take_over(image.image_id, first)
        return True

    monkeypatch.setattr("glance_stream.catalogue.holder_is_dead", overtaken)
    with pytest.raises(ImageLocked):
        catalogue.take_over(image.image_id, second)
    holder = catalogue.holder(image.image_id)
    assert holder is not None
    assert holder.id == first.id
    assert len(catalogue.interrupted()) == 1


def test_a_free_image_need_not_be_stolen(catalogue: Catalogue, image: Image) -> None:
    task = Task.here(image.image_id, Operation.RECOVER)
    lock = catalogue.take_over(image.image_id, task)
    assert lock.taken_from is None
    assert catalogue.holder(image.image_id) == lock.task


def test_a_lock_without_a_record_of_its_task_is_free_to_take(catalogue: Catalogue, image: Image, task: Task) -> None:
    with catalogue._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM tasks")
    with pytest.raises(ImageLocked, match="without a record"):
        catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.COPY))
    thief = Task.here(image.image_id, Operation.RECOVER)
    stolen = catalogue.take_over(image.image_id, thief).taken_from
    assert stolen is not None
    assert stolen.id == task.id


class TestHolderIsDead:
    """Any doubt is a no."""

    def test_this_process_lives(self, task: Task) -> None:
        assert not holder_is_dead(task)

    def test_a_pid_given_to_another_process_is_not_its_first_owner(self, task: Task) -> None:
        assert holder_is_dead(process_of(task, started=task.process.started - 1))

    def test_a_pid_that_nobody_has(self, task: Task, python: Python) -> None:
        ended = python("")
        ended.wait()
        assert holder_is_dead(process_of(task, pid=ended.pid))

    @pytest.mark.parametrize(
        "changes",
        [
            {"host": "elsewhere"},
            {"host": "elsewhere", "boot_id": "other"},
            {"machine_id": "other", "boot_id": "other"},
            {"pid_namespace": "pid:[1]"},
            {"boot_id": ""},
            {"started": 0, "pid": 1},
        ],
    )
    def test_what_cannot_be_told(self, task: Task, changes: dict[str, object]) -> None:
        free_pid = {"pid": 2**22 + 1, **changes}  # above any pid_max: no such process here
        assert not holder_is_dead(process_of(task, **free_pid))

    def test_another_boot_of_this_machine(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        there = {"machine_id": "m", "boot_id": "before", "pid_namespace": "pid:[4026531836]"}
        here = dataclasses.replace(task.process, machine_id="m", pid_namespace="pid:[4026531836]")
        monkeypatch.setattr(Process, "current", lambda: here)
        assert holder_is_dead(process_of(task, **there))
        monkeypatch.setattr(Process, "current", lambda: dataclasses.replace(here, machine_id=""))
        assert not holder_is_dead(process_of(task, **{**there, "machine_id": ""}))

    @pytest.mark.parametrize("contained", ["holder", "taker", "both"])
    def test_a_container_by_another_boot(self, task: Task, monkeypatch: pytest.MonkeyPatch, contained: str) -> None:
        """Its host's name goes with it to another node, and its image gives every container the same machine id."""
        host, container = "pid:[4026531836]", "pid:[4026532999]"
        holder = container if contained in ("holder", "both") else host
        taker = container if contained in ("taker", "both") else host
        here = dataclasses.replace(task.process, machine_id="m", pid_namespace=taker)
        monkeypatch.setattr(Process, "current", lambda: here)
        assert not holder_is_dead(process_of(task, machine_id="m", boot_id="before", pid_namespace=holder))

    def test_a_process_of_another_user_lives(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(pid: int, number: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "kill", denied)
        assert not holder_is_dead(task)
        assert holder_is_dead(process_of(task, started=1))

    def test_a_zombie_whose_other_threads_run(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        started = task.process.started
        monkeypatch.setattr(tasks, "_state_and_start", lambda pid: ("Z", started))
        monkeypatch.setattr(os, "listdir", lambda path: ["1", "2"])
        assert not holder_is_dead(task)
        monkeypatch.setattr(os, "listdir", lambda path: ["1"])
        assert holder_is_dead(task)

    def test_a_process_name_with_a_parenthesis(self, python: Python) -> None:
        odd = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b', 0, 0, 0); print(flush=True); input()"
        process = python(odd)
        assert process.stdout is not None
        process.stdout.readline()
        found = tasks._state_and_start(process.pid)
        assert found is not None
        assert found[0] in "SR"
        assert found[1] > 1000

    def test_a_system_without_proc(self, task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(tasks, "PROC", tmp_path)
        monkeypatch.setattr(tasks, "_boot_id", lambda: "")
        assert Process.current().started == 0
        assert not holder_is_dead(task)
