"""The catalogue: which images there are, where their bytes lie, who is working on them, and what is to be undone.

It knows no store. Every operation is one transaction; every write of an operation checks, in that transaction, that its task
still holds the image's lock. The life of an import::

    task = catalogue.acquire(image_id, Task.here(image_id, Operation.IMPORT)).task    # or ImageLocked, which names the holder
    catalogue.renew(task)                                   # again and again, well within `catalogue.lease`
    catalogue.begin(task, ["fast", "mirror"], importing=True)
    catalogue.opened(task, {"fast": writer.trace, ...})     # before the first store is touched
    catalogue.verified(task, size, checksum, algo, value, fingerprints)   # before the first commit
    catalogue.committed(task, location)                     # after each commit
    catalogue.record_success(task, locations, failed={})    # or record_failure: as it was before
    catalogue.release(task)

And of a deletion, for each location::

    catalogue.deleting(task, location, whole_image=False)   # before the data is touched
    catalogue.remove_location(task, location)               # the data is gone; or `kept`: it is still there

Importing this package imports SQLAlchemy, so it is imported when a catalogue is opened and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from glance_stream.catalogue import images, journal, locations, locks, outcome, steps
from glance_stream.catalogue.engine import Conflict, Database
from glance_stream.catalogue.held import Held
from glance_stream.catalogue.journal import Content, Deletion, Entry, Event, Interrupted, Journal
from glance_stream.catalogue.locks import Lock
from glance_stream.catalogue.outcome import Failure, RecordedLeftover
from glance_stream.catalogue.tasks import Operation, Process, Task, holder_is_dead, may_be_taken_over, why_locked
from glance_stream.errors import ImageLocked, ImageNotFound, InvalidRequest, Leftover
from glance_stream.model import Beginning, Fingerprints, Image, Location

__all__ = [
    "Catalogue",
    "Content",
    "Deletion",
    "Entry",
    "Event",
    "Failure",
    "Interrupted",
    "Journal",
    "Lock",
    "Operation",
    "Process",
    "RecordedLeftover",
    "Task",
    "holder_is_dead",
    "may_be_taken_over",
    "why_locked",
]

P = ParamSpec("P")
T = TypeVar("T")

LEASE_SECONDS = 3600.0  # Glance: "a lock that has not been updated for 60 minutes may be stolen" (_enforce_import_lock)


class Catalogue:
    """An open catalogue. Any thread may use it. Raises CatalogueError when the database refuses or can't be reached."""

    def __init__(self, url: str, *, lease: float = LEASE_SECONDS) -> None:
        """Open, and create what is missing. Raises InvalidRequest for a URL that names no database we can use.

        ``lease``: seconds that a lock is held without a sign of life.
        """
        self._database = Database(url)
        self.lease = lease

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let connections go. May be called twice."""
        self._database.close()

    # Records

    def create_image(
        self,
        image_id: str,
        *,
        name: str | None,
        disk_format: str | None,
        container_format: str | None,
        os_hash_algo: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Image:
        """A new, queued image. Raises InvalidRequest: the id is taken or no UUID, a property is reserved."""
        record = _record(name, disk_format, container_format, os_hash_algo)
        try:
            return self._database.change(images.create, image_id, record, properties or {})
        except Conflict as error:
            raise InvalidRequest(f"image {image_id} is in the catalogue already") from error

    def create_and_begin(
        self,
        image_id: str,
        task: Task,
        stores: Sequence[str],
        *,
        name: str | None,
        disk_format: str | None,
        container_format: str | None,
        properties: Mapping[str, str] | None = None,
    ) -> tuple[Image, Lock]:
        """`create_image`, `acquire` and `begin` of its import, in one transaction. Raises InvalidRequest as they do."""
        _check_task(image_id, task)
        record = _record(name, disk_format, container_format, None)
        try:
            image, recorded = self._database.change(
                steps.create_and_begin, image_id, record, properties or {}, task, self.lease, stores
            )
        except Conflict as error:
            raise InvalidRequest(f"image {image_id} is in the catalogue already") from error
        return image, Lock(image_id, recorded)

    def get_image(self, image_id: str) -> Image:
        """Raises ImageNotFound."""
        return self._database.look(images.get, image_id)

    def list_images(self) -> list[Image]:
        """All images, newest first."""
        return self._database.look(images.newest_first)

    def delete_image(self, image_id: str, task: Task | None = None) -> None:
        """Remove the record with all that belongs to it. Raises ImageNotFound; ImageLocked if another task holds the image."""
        self._change(image_id, steps.delete_image, image_id, task)

    def withdraw_image(self, image_id: str) -> None:
        """Remove a record that came to nothing. One that another has used since it was made, or is using, stays."""
        self._change(image_id, steps.withdraw_image, image_id)

    def update_properties(self, image_id: str, set: Mapping[str, str], remove: Iterable[str] = ()) -> Image:
        """Change users' properties. Raises ImageNotFound; InvalidRequest for `stores` and `os_glance*`."""
        return self._change(image_id, images.change_properties, image_id, set, remove)

    def fingerprints(self, image_id: str) -> Fingerprints | None:
        """The per-slot digests of an image, which `get_image` does not load. Raises ImageNotFound."""
        return self._database.look(steps.fingerprints, image_id)

    def resolve_location(self, image_id: str, url: str, store_id: str, old_store_id: str = "") -> bool:
        """Give a location without a store id, or of a store renamed since, its store. False if there is no such location."""
        return self._change(image_id, locations.resolve, image_id, url, store_id, old_store_id)

    def urls_in(self, store_id: str, others: Collection[str]) -> list[str]:
        """URLs of the locations recorded in this store, or in one that is none of the others: not looked up yet, or renamed."""
        return self._database.look(locations.urls_in, store_id, others)

    # The lock

    def acquire(self, image_id: str, task: Task) -> Lock:
        """Take the image's lock. Raises ImageLocked, which names the holder, or ImageNotFound."""
        _check_task(image_id, task)
        try:
            return Lock(image_id, self._change(image_id, locks.take, task, self.lease))
        except Conflict as error:
            raise self._refusal(image_id) from error

    def take_over(self, image_id: str, task: Task) -> Lock:
        """Take the lock from a holder whose lease has ended or whose process is certainly dead, with its journal.

        A free image is simply acquired. Raises ImageLocked if neither is so, or if another was faster.
        """
        _check_task(image_id, task)
        holder = self.holder(image_id)
        if holder is None:
            return self.acquire(image_id, task)
        if not may_be_taken_over(holder):
            raise steps.locked(image_id, holder)
        dead = holder_is_dead(holder)
        return Lock(image_id, self._change(image_id, locks.take_over, holder, task, self.lease, dead=dead), taken_from=holder)

    def holder(self, image_id: str) -> Task | None:
        """The task that holds the image; None when it is free."""
        return self._database.look(locks.holder, image_id)

    def renew(self, task: Task, message: str = "", progress: Mapping[str, Any] | None = None, *, idle: float = 0.0) -> None:
        """The task lives; message and progress tell how far it is. Raises LockLost.

        ``idle``: seconds without progress, which are off its lease: a process that lives and does nothing loses its lock too.
        """
        self._database.change(locks.renew, task, self.lease - idle, message, progress or {})

    def require(self, task: Task) -> None:
        """Raises LockLost unless the task holds its image: asked before what no record of ours goes before."""
        self._database.change(locks.require, task)

    def release(self, task: Task) -> None:
        """Let go of the image, if this task holds it: a lock lost to another is left alone.

        Raises CatalogueError while the operation has no recorded outcome: its journal would go with the lock.
        """
        self._change(task.image_id, steps.release, task)

    def is_open(self, task: Task) -> bool:
        """Whether the operation has begun and has no recorded outcome. Raises LockLost: then it can't be told any more.

        Waits, as whatever changes the image does, for a transaction on it that has not ended: a COMMIT whose answer was lost may
        be under way still.
        """
        return self._held(task, journal.is_open)

    def was_released(self, task: Task) -> bool:
        """Whether the task has let go of its image. Raises LockLost if another has taken it since. Waits as `is_open`."""
        return self._change(task.image_id, locks.was_dropped, task)

    def is_shown(self, task: Task, location: Location) -> bool:
        """Whether the image is active with this location. Raises LockLost, and waits, as `is_open`."""
        return self._held(task, outcome.is_shown, location)

    def interrupted(self) -> list[Interrupted]:
        """Every locked image with its holder and journal, oldest first. `may_be_taken_over` tells which were left behind."""
        return self._database.look(journal.interrupted)

    def interruption(self, image_id: str) -> Interrupted | None:
        """The same for one image; None when it is free."""
        return self._database.look(journal.interruption, image_id)

    # An operation, from begin to its outcome. All raise LockLost.

    def begin(self, task: Task, stores: Sequence[str], *, importing: bool) -> None:
        """Save the image's state and list the stores as being imported to; with ``importing`` the status says so too.

        Raises InvalidRequest: no stores, one twice, or an image that is not queued (importing) or active (otherwise).
        """
        self._held(task, journal.begin, stores, importing)

    def begin_again(
        self,
        task: Task,
        stores: Sequence[str],
        *,
        importing: bool,
        failed: Mapping[str, tuple[str, str]],
        leftovers: Sequence[Leftover],
        left: Mapping[str, str],
    ) -> None:
        """`record_failure` of the operation that came with the lock and `begin` of this one, in one transaction.

        ``left``: store id -> trace of what is still there and that this operation goes on with. It is never off the record.
        """
        self._held(task, outcome.begin_again, stores, importing, failed, leftovers, left)

    def opened(self, task: Task, traces: Mapping[str, str]) -> None:
        """Writers are about to be opened; by store id, what each of them may leave behind for `Store.discard`."""
        self._held(task, journal.opened, traces)

    def read(self, task: Task, beginning: Beginning) -> None:
        """So much has been read of the source."""
        self._held(task, journal.read, beginning)

    def beginning(self, task: Task) -> Beginning | None:
        """What `read` recorded last."""
        return self._database.look(journal.beginning, task)

    def adopting(self, task: Task, store_id: str, trace: str) -> None:
        """The writer was not opened, or not committed: another's object is there, which is compared and never removed."""
        self._held(task, journal.adopting, store_id, trace)

    def flushed(self, task: Task, store_id: str, trace: str) -> None:
        """With best effort: this writer is going to be asked to commit, which those of stores that dropped out are not."""
        self._held(task, journal.flushed, store_id, trace)

    def verified(
        self,
        task: Task,
        size: int,
        checksum: str | None,
        os_hash_algo: str | None,
        os_hash_value: str | None,
        fingerprints: Fingerprints | None,
        *,
        virtual_size: int | None = None,
        disk_format: str | None = None,
    ) -> None:
        """The whole stream agreed with what was expected of it. Not on the image yet. Raises EmptyImage.

        ``disk_format``: of an image that had none on record; it stays, whatever becomes of the operation.
        """
        content = Content(size, virtual_size, checksum, os_hash_algo, os_hash_value)
        self._held(task, steps.verified, content, fingerprints, disk_format)

    def committed(self, task: Task, *locations: Location) -> None:
        """The objects are visible in their stores."""
        self._held(task, journal.committed, *locations)

    def add_location(self, task: Task, location: Location, *, activate: bool) -> None:
        """Show the location on the image before the operation ends; with ``activate`` the image becomes active with it.

        Raises CatalogueError when nothing was verified; DigestMismatch when an active image records other data than this.
        """
        self._held(task, outcome.add_location, location, activate)

    def record_success(
        self,
        task: Task,
        locations: Sequence[Location],
        failed: Mapping[str, tuple[str, str]] | None = None,
        *,
        release: bool = False,
    ) -> Image:
        """The operation's end: its locations (those added before may be among them), the image active, its journal gone.

        ``failed`` gives (error, message) of each store that was dropped. ``release``: and the image is let go of. Returns it as it
        is then. Raises as `add_location` does.
        """
        return self._held(task, outcome.succeed, locations, failed or {}, release)

    def record_failure(self, task: Task, failed: Mapping[str, tuple[str, str]], leftovers: Sequence[Leftover] = ()) -> None:
        """The operation's other end: the image as `begin` found it, the reasons, and what could not be removed."""
        self._held(task, outcome.fail, failed, leftovers)

    def deleting(self, task: Task, location: Location, *, whole_image: bool) -> None:
        """The location's data is about to be deleted; ``whole_image``: from every store, and the record with the last one.

        What `recover` may finish if the process dies. Ended by `remove_location`, `delete_image` or `kept`.
        """
        self._held(task, journal.deleting, location, whole_image)

    def kept(self, task: Task, location: Location) -> None:
        """The data that was about to be deleted has not been, and nobody is going to."""
        self._held(task, journal.deleted, location)

    def remove_location(self, task: Task, location: Location) -> None:
        """Drop a location whose object is gone. Raises InvalidRequest for an active image's only one."""
        self._held(task, outcome.remove_location, location)

    # What went wrong

    def failures(self, image_id: str) -> list[Failure]:
        """Why the stores in the image's failed list failed, by store id."""
        return self._database.look(outcome.failures_of, image_id)

    def record_leftovers(self, image_id: str, leftovers: Sequence[Leftover]) -> None:
        """Remember what could not be removed. Needs no lock: who lost it has leftovers all the same."""
        self._database.change(outcome.save_leftovers, image_id, leftovers)

    def leftovers(self) -> list[RecordedLeftover]:
        """What is still in stores because removing it failed, oldest first."""
        return self._database.look(outcome.all_leftovers)

    def remove_leftover(self, number: int) -> bool:
        """Forget a leftover that has been removed at last. False if it was forgotten already."""
        return self._database.change(outcome.remove_leftover, number)

    def _held(self, task: Task, step: Callable[Concatenate[Held, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """A transaction of the task that holds the image."""
        return self._database.change(steps.while_held, task, step, *arguments, **named)

    def _change(self, image_id: str, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """A transaction on one image by anyone."""
        return self._database.change(steps.one_at_a_time, image_id, step, *arguments, **named)

    def _refusal(self, image_id: str) -> ImageLocked | ImageNotFound:
        """Why the lock could not be inserted."""
        self.get_image(image_id)
        holder = self.holder(image_id)
        if holder is None:
            return ImageLocked(f"image {image_id} was held by another operation until now; try again")
        return steps.locked(image_id, holder)


def _record(
    name: str | None, disk_format: str | None, container_format: str | None, os_hash_algo: str | None
) -> dict[str, str | None]:
    return {"name": name, "disk_format": disk_format, "container_format": container_format, "os_hash_algo": os_hash_algo}


def _check_task(image_id: str, task: Task) -> None:
    if task.image_id != image_id:
        raise InvalidRequest(f"task {task.id} is for image {task.image_id}, not {image_id}")
