"""The lock of an image: the property ``os_glance_import_task``, under the unique constraint (image_id, name).

As in Glance (bug 1884596) one atomic insert takes it, and every write of an operation checks it in its own transaction. Unlike
Glance there is no time after which a silent holder loses it: only the lock of a process that is certainly dead is stolen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from glance_stream.catalogue.tables import (
    MESSAGE_LENGTH,
    image_properties,
    images,
    journal,
    now,
    operations,
    tasks,
)
from glance_stream.catalogue.tasks import Operation, Process, Task
from glance_stream.catalogue.text import readable
from glance_stream.errors import ImageLocked, ImageNotFound, LockLost
from glance_stream.model import IMPORT_TASK


@dataclass(frozen=True)
class Lock:
    """An image held by ``task``. ``stolen_from`` is the dead task whose journal came with it."""

    image_id: str
    task: Task
    stolen_from: Task | None = None


def take(connection: Connection, task: Task) -> None:
    """Insert task and lock. The insert of the lock meets the unique constraint when another holds the image."""
    _require_image(connection, task.image_id)
    _insert_task(connection, task)
    connection.execute(insert(image_properties).values(image_id=task.image_id, name=IMPORT_TASK, value=task.id))


def take_over(connection: Connection, dead: Task, task: Task) -> None:
    """Replace the dead task by this one, with all that it has to undo. ImageLocked if another did so first."""
    _require_image(connection, task.image_id)
    _insert_task(connection, task)
    lock = _lock_row(task.image_id)
    replaced = connection.execute(update(image_properties).where(*lock, image_properties.c.value == dead.id).values(value=task.id))
    if replaced.rowcount != 1:
        raise ImageLocked(f"image {task.image_id}: another process is taking over the lock of {dead}")
    for table in (operations, journal):
        connection.execute(update(table).where(table.c.task_id == dead.id).values(task_id=task.id))
    connection.execute(delete(tasks).where(tasks.c.id == dead.id))


def require(connection: Connection, task: Task) -> None:
    """LockLost unless the task holds its image now, and until this transaction ends (FOR UPDATE; SQLite has but one writer)."""
    held = select(image_properties.c.value).where(*_lock_row(task.image_id)).with_for_update()
    value = connection.execute(held).scalar()
    if value is None:
        raise LockLost(f"image {task.image_id}: its lock was released, or its record deleted, while {task} was running")
    if value != task.id:
        raise LockLost(f"image {task.image_id}: its lock was taken by task {value} while {task} was running")


def holder(connection: Connection, image_id: str) -> Task | None:
    """The task that holds the image; None when it is free."""
    row = connection.execute(_holders().where(image_properties.c.image_id == image_id)).first()
    return None if row is None else _task(row)


def holders(connection: Connection) -> list[Task]:
    """The tasks that hold an image, oldest first."""
    found = [_task(row) for row in connection.execute(_holders())]
    return sorted(found, key=lambda task: (task.started_at, task.id))


def drop(connection: Connection, task: Task) -> None:
    """Free the image if this task holds it, and only then."""
    connection.execute(delete(image_properties).where(*_lock_row(task.image_id), image_properties.c.value == task.id))
    connection.execute(delete(tasks).where(tasks.c.id == task.id))


def touch(connection: Connection, task_id: str, message: str) -> None:
    """Say that the task lives, and how far it is. A task that lost its lock has no row any more."""
    values = {"updated_at": now(), "message": readable(message, MESSAGE_LENGTH)}
    if connection.execute(update(tasks).where(tasks.c.id == task_id).values(values)).rowcount != 1:
        raise LockLost(f"task {task_id} no longer holds an image")


def _lock_row(image_id: str) -> tuple[Any, Any]:
    return image_properties.c.image_id == image_id, image_properties.c.name == IMPORT_TASK


def _require_image(connection: Connection, image_id: str) -> None:
    if connection.execute(select(images.c.id).where(images.c.id == image_id)).first() is None:
        raise ImageNotFound(f"image {image_id} is not in the catalogue")


def _insert_task(connection: Connection, task: Task) -> None:
    process = task.process
    connection.execute(
        insert(tasks).values(
            id=task.id,
            image_id=task.image_id,
            operation=task.operation.value,
            host=process.host,
            machine_id=process.machine_id,
            boot_id=process.boot_id,
            pid_namespace=process.pid_namespace,
            pid=process.pid,
            process_started=process.started,
            started_at=task.started_at,
            updated_at=task.updated_at,
            message=readable(task.message, MESSAGE_LENGTH),
        )
    )


def _holders() -> Select[Any]:
    joined = image_properties.outerjoin(tasks, tasks.c.id == image_properties.c.value)
    lock = (image_properties.c.value.label("task_id"), image_properties.c.image_id.label("locked_id"))
    return select(*lock, tasks).select_from(joined).where(image_properties.c.name == IMPORT_TASK)


def _task(row: Row[Any]) -> Task:
    if row.id is None:
        return Task.unrecorded(row.task_id, row.locked_id, now())
    process = Process(row.host, row.machine_id, row.boot_id, row.pid_namespace, row.pid, row.process_started)
    task = Task(row.id, row.image_id, Operation(row.operation), process, row.started_at, row.updated_at)
    return dataclasses.replace(task, message=row.message)
