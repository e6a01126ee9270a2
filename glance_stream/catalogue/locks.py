"""The lock of an image: the property ``os_glance_import_task``, under the unique constraint (image_id, name).

As in Glance (bug 1884596) one atomic insert takes it, and every write of an operation checks it in its own transaction. It is
leased: who does not renew it loses it to the next who wants the image, by the database's clock, and at once if its process is
certainly dead. Each time it is taken the image's fence grows; a task writes under the fence that it took, and under no later one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, and_, bindparam, delete, insert, or_, select, update

from glance_stream.catalogue.clock import database_time, microseconds
from glance_stream.catalogue.tables import MESSAGE_LENGTH, image_properties, images, journal, operations, tasks
from glance_stream.catalogue.tasks import NEVER_LEASED, SILENCE_WITHOUT_LEASE, Operation, Process, Task
from glance_stream.catalogue.text import readable
from glance_stream.errors import ImageLocked, ImageNotFound, LockLost
from glance_stream.model import IMPORT_TASK

_INSERT_TASK = insert(tasks).values(
    started_at=database_time(), updated_at=database_time(), expires_at=database_time(bindparam("lease", type_=BigInteger))
)
_TASK = select(tasks, database_time().label("read_at")).where(tasks.c.id == bindparam("held_by"))
_FORGET_TASK = delete(tasks).where(tasks.c.id == bindparam("held_by"))
_UNLOCK = delete(image_properties).where(
    image_properties.c.image_id == bindparam("image"),
    image_properties.c.name == IMPORT_TASK,
    image_properties.c.value == bindparam("held_by"),
)


@dataclass(frozen=True)
class Lock:
    """An image held by ``task``, as it is recorded. ``taken_from`` is the task whose journal came with it."""

    image_id: str
    task: Task
    taken_from: Task | None = None


def take(connection: Connection, task: Task, lease: float) -> Task:
    """Insert task and lock. The insert of the lock meets the unique constraint when another holds the image."""
    _require_image(connection, task.image_id)
    connection.execute(insert(image_properties).values(image_id=task.image_id, name=IMPORT_TASK, value=task.id))
    return _insert_task(connection, task, lease)


def take_over(connection: Connection, from_: Task, task: Task, lease: float, *, dead: bool) -> Task:
    """Replace a task by this one, with all that it has to undo. ``dead``: it is known to be, so its lease does not matter.

    ImageLocked if another did so first, or if it has renewed its lease.
    """
    _require_image(connection, task.image_id)
    if connection.execute(_held_by(task.image_id).with_for_update()).scalar() != from_.id:
        raise ImageLocked(f"image {task.image_id}: another process is taking over the lock of {from_}")
    expired = select(tasks.c.id).where(tasks.c.id == from_.id, _has_expired()).with_for_update()
    if not dead and connection.execute(expired).first() is None:
        raise ImageLocked(f"image {task.image_id}: {from_} is at work again")
    recorded = _insert_task(connection, task, lease)
    connection.execute(update(image_properties).where(*_lock_row(task.image_id)).values(value=task.id))
    for table in (operations, journal):
        connection.execute(update(table).where(table.c.task_id == from_.id).values(task_id=task.id))
    connection.execute(delete(tasks).where(tasks.c.id == from_.id))
    return recorded


def require(connection: Connection, task: Task) -> None:
    """LockLost unless the task holds its image now, and until this transaction ends (FOR UPDATE; SQLite has but one writer)."""
    value = connection.execute(_held_by(task.image_id).with_for_update()).scalar()
    if value is None:
        raise LockLost(f"image {task.image_id}: its lock was released, or its record deleted, while {task} was running")
    fence = connection.execute(select(images.c.fence).where(images.c.id == task.image_id)).scalar()
    if value != task.id or fence != task.fence:
        raise LockLost(f"image {task.image_id}: its lock was taken by task {value} (fence {fence}) while {task} was running")


def was_dropped(connection: Connection, task: Task) -> bool:
    """Whether the task has let go of its image. LockLost if somebody has taken it, from whomever, or deleted it."""
    fence = connection.execute(select(images.c.fence).where(images.c.id == task.image_id)).scalar()
    value = connection.execute(_held_by(task.image_id)).scalar()
    if fence != task.fence or value not in (None, task.id):
        raise LockLost(f"image {task.image_id}: it was taken by another, or deleted, while {task} was running")
    return value is None


def holder(connection: Connection, image_id: str) -> Task | None:
    """The task that holds the image; None when it is free."""
    row = connection.execute(_holders().where(image_properties.c.image_id == image_id)).first()
    return None if row is None else _task(row)


def holders(connection: Connection) -> list[Task]:
    """The tasks that hold an image, oldest first."""
    found = [_task(row) for row in connection.execute(_holders())]
    return sorted(found, key=lambda task: (task.started_at, task.id))


def drop(connection: Connection, task: Task) -> None:
    """Free the image if this task holds it, and only then. With the task goes all that refers to it (ON DELETE CASCADE)."""
    connection.execute(_UNLOCK, {"image": task.image_id, "held_by": task.id})
    connection.execute(_FORGET_TASK, {"held_by": task.id})


def renew(connection: Connection, task: Task, seconds: float, message: str, progress: Mapping[str, Any]) -> None:
    """The task lives and is so far; its lease ends in so many seconds. A task that lost its lock has no row any more."""
    values = {
        "updated_at": database_time(),
        "expires_at": database_time(seconds),
        "message": readable(message, MESSAGE_LENGTH),
        "progress": json.dumps(progress),
    }
    if connection.execute(update(tasks).where(tasks.c.id == task.id, tasks.c.fence == task.fence).values(values)).rowcount != 1:
        raise LockLost(f"image {task.image_id}: its lock was taken by another while {task} was running")


def _lock_row(image_id: str) -> tuple[Any, Any]:
    return image_properties.c.image_id == image_id, image_properties.c.name == IMPORT_TASK


def _held_by(image_id: str) -> Select[Any]:
    return select(image_properties.c.value).where(*_lock_row(image_id))


def _has_expired() -> ColumnElement[bool]:
    """`Task.is_expired`, of now."""
    leased = tasks.c.expires_at > NEVER_LEASED
    silent = tasks.c.updated_at <= database_time(-SILENCE_WITHOUT_LEASE.total_seconds())
    return or_(and_(leased, tasks.c.expires_at <= database_time()), and_(~leased, silent))


def _require_image(connection: Connection, image_id: str) -> None:
    if connection.execute(select(images.c.id).where(images.c.id == image_id)).first() is None:
        raise ImageNotFound(f"image {image_id} is not in the catalogue")


def _insert_task(connection: Connection, task: Task, lease: float) -> Task:
    """Under the image's next fence. Returns the task as it is recorded."""
    image = images.c.id == task.image_id
    connection.execute(update(images).where(image).values(fence=images.c.fence + 1))
    return insert_task(connection, task, lease, connection.execute(select(images.c.fence).where(image)).scalar_one())


def insert_task(connection: Connection, task: Task, lease: float, fence: int) -> Task:
    """The row alone. Returns the task as it is recorded."""
    process = task.process
    connection.execute(
        _INSERT_TASK,
        {
            "id": task.id,
            "image_id": task.image_id,
            "operation": task.operation.value,
            "host": process.host,
            "machine_id": process.machine_id,
            "boot_id": process.boot_id,
            "pid_namespace": process.pid_namespace,
            "pid": process.pid,
            "process_started": process.started,
            "lease": microseconds(lease),
            "fence": fence,
            "message": readable(task.message, MESSAGE_LENGTH),
            "progress": json.dumps(task.progress),
        },
    )
    return _task(connection.execute(_TASK, {"held_by": task.id}).one())


def _holders() -> Select[Any]:
    joined = image_properties.outerjoin(tasks, tasks.c.id == image_properties.c.value)
    lock = (image_properties.c.value.label("task_id"), image_properties.c.image_id.label("locked_id"))
    return select(*lock, tasks, database_time().label("read_at")).select_from(joined).where(image_properties.c.name == IMPORT_TASK)


def _task(row: Row[Any]) -> Task:
    if row.id is None:
        return Task.unrecorded(row.task_id, row.locked_id, row.read_at)
    return Task(
        id=row.id,
        image_id=row.image_id,
        operation=Operation(row.operation),
        process=Process(row.host, row.machine_id, row.boot_id, row.pid_namespace, row.pid, row.process_started),
        started_at=row.started_at,
        updated_at=row.updated_at,
        message=row.message,
        fence=row.fence,
        expires_at=row.expires_at,
        progress=json.loads(row.progress or "{}"),
        read_at=row.read_at,
    )
