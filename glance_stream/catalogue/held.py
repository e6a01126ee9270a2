"""What a transaction of the task that holds an image goes by: read once, at its beginning, with the image's row held.

After the first statement of the transaction, which holds that row (`images.hold`), and in a statement of its own: under READ
COMMITTED one that waits for the row would see the others as they were before it waited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, select

from glance_stream.catalogue import images
from glance_stream.catalogue.tables import image_properties, operations
from glance_stream.catalogue.tables import images as image_records
from glance_stream.catalogue.tasks import Task
from glance_stream.errors import LockLost
from glance_stream.model import IMPORT_TASK

_LOCK = and_(image_properties.c.image_id == image_records.c.id, image_properties.c.name == IMPORT_TASK)
_STATE = (
    select(
        image_records.c.status,
        image_records.c.fence,
        image_properties.c.value.label("holder"),
        *(column for column in operations.c if column is not operations.c.digests),  # which are megabytes
    )
    .select_from(
        image_records.outerjoin(image_properties, _LOCK).outerjoin(operations, operations.c.task_id == image_properties.c.value)
    )
    .where(image_records.c.id == bindparam("image"))
)


@dataclass(frozen=True)
class Held:
    """An image whose lock is the task's, as this transaction found it.

    status: the image's. operation: the row of ``operations``, without digests; None before `begin` and after the outcome.
    """

    connection: Connection
    task: Task
    status: str
    operation: Row[Any] | None

    @property
    def image_id(self) -> str:
        return self.task.image_id


def require(connection: Connection, task: Task) -> Held:
    """LockLost unless the task holds its image now, and until this transaction ends."""
    images.hold(connection, task.image_id)
    row = connection.execute(_STATE, {"image": task.image_id}).first()
    if row is None or row.holder is None:
        raise LockLost(f"image {task.image_id}: its lock was released, or its record deleted, while {task} was running")
    if row.holder != task.id or row.fence != task.fence:
        raise LockLost(
            f"image {task.image_id}: its lock was taken by task {row.holder} (fence {row.fence}) while {task} was running"
        )
    return Held(connection, task, row.status, None if row.task_id is None else row)
