"""Who holds an image's lock, until when, and whether that process is certainly gone. No database here."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from glance_stream.catalogue.tables import now

PROC = Path("/proc")

# What `expires_at` says of a task that was never leased: its process is of the version before leases, and may be at work still.
NEVER_LEASED = datetime(1970, 1, 1, tzinfo=UTC)
SILENCE_WITHOUT_LEASE = timedelta(hours=1)  # Glance: "a lock that has not been updated for 60 minutes may be stolen"

HOSTS_PID_NAMESPACE = "pid:[4026531836]"  # the first of every boot (PROC_PID_INIT_INO in the kernel's linux/proc_ns.h)


class Operation(StrEnum):
    """What a task does to its image."""

    IMPORT = "import"
    COPY = "copy"
    DELETE = "delete"
    RECOVER = "recover"


@dataclass(frozen=True)
class Process:
    """One process among all that ever were: a pid alone is given again to another.

    ``started`` is in clock ticks since the boot named by ``boot_id``. ``machine_id`` tells hosts of the same name apart and
    ``pid_namespace`` containers that share a kernel. '' and 0 stand for what the system would not say.
    """

    host: str
    machine_id: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Process:
        pid = os.getpid()
        namespace, started = _own(PROC, pid)
        return cls(socket.gethostname(), _machine_id(), _boot_id(), namespace, pid, started)


@dataclass(frozen=True)
class Task:
    """One operation on one image by one process. Its id is what the lock property holds, as Glance's task id is.

    fence: grows each time that the image's lock is taken; 0 before it was. expires_at: when the lease ends unless it is renewed.
    All times are the database's, ``read_at`` among them: when it gave this. message, progress: how far the operation is, in words
    and as data.
    """

    id: str
    image_id: str
    operation: Operation
    process: Process
    started_at: datetime
    updated_at: datetime
    message: str = ""
    fence: int = 0
    expires_at: datetime | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    read_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def here(cls, image_id: str, operation: Operation | str) -> Task:
        """A new task of this process; it holds nothing until it has acquired the lock."""
        moment = now()
        return cls(str(uuid.uuid4()), image_id, Operation(operation), Process.current(), moment, moment)

    @classmethod
    def unrecorded(cls, task_id: str, image_id: str, at: datetime) -> Task:
        """Stands for a lock whose task has no record: no process (pid 0) will ever release it (Glance steals those at once)."""
        return cls(task_id, image_id, Operation.RECOVER, Process("", "", "", "", 0, 0), at, at)

    @property
    def held_until(self) -> datetime | None:
        """When its lease ends; of a task that was never leased, when it will have been silent for too long."""
        if self.expires_at is not None and self.expires_at <= NEVER_LEASED:
            return self.updated_at + SILENCE_WITHOUT_LEASE
        return self.expires_at

    @property
    def is_expired(self) -> bool:
        """Whether its lease had ended when it was read."""
        return self.held_until is not None and self.read_at is not None and self.held_until <= self.read_at

    def __str__(self) -> str:
        if self.process.pid == 0:
            return f"a task without a record ({self.id})"
        return f"{self.operation} by process {self.process.pid} on host {self.process.host!r} since {_second(self.started_at)}"


def why_locked(task: Task) -> str:
    """Who holds the image, since when, how far it is, and what to do about it."""
    if task.process.pid == 0:
        return f"{task}; the next operation on the image takes it over"
    told = f"{task}, last sign of life at {_second(task.updated_at)}" + (f" ({task.message})" if task.message else "")
    if holder_is_dead(task):
        return f"{told}; that process is dead: run 'glance-stream recover', or the next operation on the image takes over"
    if task.is_expired:
        return f"{told}; its lease has ended: run 'glance-stream recover', or the next operation on the image takes over"
    if task.held_until is None:
        return told
    return f"{told}; wait for its end; unless it makes progress its lock may be taken over at {_second(task.held_until)}"


def _second(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def may_be_taken_over(task: Task) -> bool:
    """Whether the next who wants the image may roll this operation back: its lease has ended, or its process has."""
    return task.is_expired or holder_is_dead(task)


def holder_is_dead(task: Task) -> bool:
    """Whether the process behind the task is gone for certain. Any doubt, and any other host, is a no."""
    holder, here = task.process, Process.current()
    if holder.pid == 0:
        return True
    if not holder.boot_id or not here.boot_id:
        return False
    if holder.boot_id != here.boot_id:
        # Another boot is a dead boot only if it was this machine's: hosts may share a name. A container takes its host's name along
        # to another node, and many have the machine id of their image, or none.
        same = (holder.host, holder.machine_id) == (here.host, here.machine_id)
        return bool(here.machine_id) and same and holder.pid_namespace == here.pid_namespace == HOSTS_PID_NAMESPACE
    if holder.host != here.host or holder.pid_namespace != here.pid_namespace:
        return False  # same kernel, other container: its pids are not ours to look at
    return _is_gone(holder.pid, holder.started)


def _is_gone(pid: int, started: int) -> bool:
    try:
        os.kill(pid, 0)  # asks only; unlike /proc it is not hidden by the mount option hidepid
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists, under another user
    found = _state_and_start(pid)
    if found is None or started == 0:
        return False
    state, actual = found
    return actual != started or (state in "ZX" and not _has_other_threads(pid))


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """Fields 3 and 22 of proc_pid_stat(5), or None when they can't be read. The name before them may hold any character."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _has_other_threads(pid: int) -> bool:
    """A first thread that ended is a zombie while the others run on."""
    try:
        return len(os.listdir(PROC / str(pid) / "task")) > 1
    except OSError:
        return False


@cache
def _own(proc: Path, pid: int) -> tuple[str, int]:
    """Of this process, which keeps both while it lives. A fork of it has a pid of its own."""
    found = _state_and_start(pid)
    return _link(proc / "self/ns/pid"), found[1] if found else 0


@cache
def _boot_id() -> str:
    return _line(PROC / "sys/kernel/random/boot_id")


@cache
def _machine_id() -> str:
    return _line(Path("/etc/machine-id"))


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()[:64]
    except (OSError, ValueError):
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)[:64]
    except OSError:
        return ""
