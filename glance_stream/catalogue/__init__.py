"""The catalogue: which images there are, where their bytes lie, who is working on them, and what is to be undone.

It knows no store. Every operation is one transaction; every write of an operation checks, in that transaction, that its task
still holds the image's lock. The life of an import::

    task = catalogue.acquire(image_id, Task.here(image_id, Operation.IMPORT)).task    # or ImageLocked, which names the holder
    catalogue.renew(task)                                   # again and again, well within `catalogue.lease`
    catalogue.begin(task, ["fast", "mirror"], importing=True)
    catalogue.opened(task, "fast", writer.trace)            # before the first byte goes to the store
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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from sqlalchemy import Connection

from glance_stream.catalogue import images, journal, locations, locks, outcome
from glance_stream.catalogue.engine import Conflict, Database
from glance_stream.catalogue.journal import Content, Deletion, Entry, Event, Interrupted, Journal
from glance_stream.catalogue.locks import Lock
from glance_stream.catalogue.outcome import Failure, RecordedLeftover
from glance_stream.catalogue.tasks import Operation, Process, Task, holder_is_dead, may_be_taken_over, why_locked
from glance_stream.errors import CatalogueError, ImageLocked, ImageNotFound, InvalidRequest, Leftover
from glance_stream.model import Fingerprints, Image, Location

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
]

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
        record = {
            "name": name,
            "disk_format": disk_format,
            "container_format": container_format,
            "os_hash_algo": os_hash_algo,
        }
        try:
            with self._database.write() as connection:
                images.create(connection, image_id, record, properties or {})
                return images.get(connection, image_id)
        except Conflict as error:
            raise InvalidRequest(f"image {image_id} is in the catalogue already") from error

    def get_image(self, image_id: str) -> Image:
        """Raises ImageNotFound."""
        with self._database.read() as connection:
            return images.get(connection, image_id)

    def list_images(self) -> list[Image]:
        """All images, newest first."""
        with self._database.read() as connection:
            return images.newest_first(connection)

    def delete_image(self, image_id: str, task: Task | None = None) -> None:
        """Remove the record with all that belongs to it. Raises ImageNotFound; ImageLocked if another task holds the image."""
        with self._database.write() as connection:
            if task is not None:
                locks.require(connection, task)
            elif (holder := locks.holder(connection, image_id)) is not None:
                raise _locked(image_id, holder)
            images.forget(connection, image_id)

    def update_properties(self, image_id: str, set: Mapping[str, str], remove: Iterable[str] = ()) -> Image:
        """Change users' properties. Raises ImageNotFound; InvalidRequest for `stores` and `os_glance*`."""
        with self._database.write() as connection:
            images.change_properties(connection, image_id, set, remove)
            return images.get(connection, image_id)

    def fingerprints(self, image_id: str) -> Fingerprints | None:
        """The per-slot digests of an image, which `get_image` does not load. Raises ImageNotFound."""
        with self._database.read() as connection:
            images.get(connection, image_id)
            return images.read_fingerprints(connection, image_id)

    def resolve_location(self, image_id: str, url: str, store_id: str, old_store_id: str = "") -> bool:
        """Give a location without a store id, or of a store renamed since, its store. False if there is no such location."""
        with self._database.write() as connection:
            return locations.resolve(connection, image_id, url, store_id, old_store_id)

    # The lock

    def acquire(self, image_id: str, task: Task) -> Lock:
        """Take the image's lock. Raises ImageLocked, which names the holder, or ImageNotFound."""
        _check_task(image_id, task)
        try:
            with self._database.write() as connection:
                return Lock(image_id, locks.take(connection, task, self.lease))
        except Conflict as error:
            raise self._refusal(image_id) from error

    def take_over(self, image_id: str, task: Task) -> Lock:
        """Take the lock from a holder whose lease has ended or whose process is certainly dead, with its journal.

        A free image is simply acquired. Raises ImageLocked if neither is so, or if another was faster.
        """
        _check_task(image_id, task)
        with self._database.read() as connection:
            holder = locks.holder(connection, image_id)
        if holder is None:
            return self.acquire(image_id, task)
        if not may_be_taken_over(holder):
            raise _locked(image_id, holder)
        dead = holder_is_dead(holder)
        with self._database.write() as connection:
            return Lock(image_id, locks.take_over(connection, holder, task, self.lease, dead=dead), taken_from=holder)

    def holder(self, image_id: str) -> Task | None:
        """The task that holds the image; None when it is free."""
        with self._database.read() as connection:
            return locks.holder(connection, image_id)

    def renew(self, task: Task, message: str = "", progress: Mapping[str, Any] | None = None, *, idle: float = 0.0) -> None:
        """The task lives; message and progress tell how far it is. Raises LockLost.

        ``idle``: seconds without progress, which are off its lease: a process that lives and does nothing loses its lock too.
        """
        with self._database.write() as connection:
            locks.renew(connection, task, self.lease - idle, message, progress or {})

    def require(self, task: Task) -> None:
        """Raises LockLost unless the task holds its image: asked before what no record of ours goes before."""
        with self._database.write() as connection:
            locks.require(connection, task)

    def release(self, task: Task) -> None:
        """Let go of the image, if this task holds it: a lock lost to another is left alone.

        Raises CatalogueError while the operation has no recorded outcome: its journal would go with the lock.
        """
        with self._database.write() as connection:
            if journal.find(connection, task) or journal.find_deletion(connection, task):
                raise CatalogueError(f"image {task.image_id}: the outcome of {task} is not recorded, so it stays locked")
            locks.drop(connection, task)

    def is_open(self, task: Task) -> bool:
        """Whether the operation has begun and has no recorded outcome."""
        with self._database.read() as connection:
            return journal.find(connection, task) is not None

    def interrupted(self) -> list[Interrupted]:
        """Every locked image with its holder and journal, oldest first. `holder_is_dead` tells which were left behind."""
        with self._database.read() as connection:
            return journal.interrupted(connection)

    # An operation, from begin to its outcome. All raise LockLost.

    def begin(self, task: Task, stores: Sequence[str], *, importing: bool) -> None:
        """Save the image's state and list the stores as being imported to; with ``importing`` the status says so too.

        Raises InvalidRequest: no stores, one twice, or an image that is not queued (importing) or active (otherwise).
        """
        with self._held(task) as connection:
            journal.begin(connection, task, stores, importing)

    def opened(self, task: Task, store_id: str, trace: str) -> None:
        """A writer was opened; ``trace`` tells `Store.discard` what it may leave behind."""
        with self._held(task) as connection:
            journal.opened(connection, task, store_id, trace)

    def flushed(self, task: Task, store_id: str, trace: str) -> None:
        """With best effort: this writer is going to be asked to commit, which those of stores that dropped out are not."""
        with self._held(task) as connection:
            journal.flushed(connection, task, store_id, trace)

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
    ) -> None:
        """The whole stream agreed with what was expected of it. Not on the image yet. Raises EmptyImage.

        ``disk_format``: of an image that had none on record; it stays, whatever becomes of the operation.
        """
        content = Content(size, virtual_size, checksum, os_hash_algo, os_hash_value)
        with self._held(task) as connection:
            journal.verified(connection, task, content, fingerprints)
        disk_format: str | None = None,

    def committed(self, task: Task, location: Location) -> None:
        """The object is visible in its store."""
        with self._held(task) as connection:
            journal.committed(connection, task, location)
            if disk_format is not None:
                images.stamp(connection, task.image_id, disk_format=disk_format)

    def add_location(self, task: Task, location: Location, *, activate: bool) -> None:
        """Show the location on the image before the operation ends; with ``activate`` the image becomes active with it.

        Raises CatalogueError when nothing was verified; DigestMismatch when an active image records other data than this.
        """
        with self._held(task) as connection:
            outcome.add_location(connection, task, location, activate)

    def record_success(
        self, task: Task, locations: Sequence[Location], failed: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        """The operation's end: its locations (those added before may be among them), the image active, its journal gone.

        ``failed`` gives (error, message) of each store that was dropped. Raises as `add_location` does.
        """
        with self._held(task) as connection:
            outcome.succeed(connection, task, locations, failed or {})

    def record_failure(self, task: Task, failed: Mapping[str, tuple[str, str]], leftovers: Sequence[Leftover] = ()) -> None:
        """The operation's other end: the image as `begin` found it, the reasons, and what could not be removed."""
        with self._held(task) as connection:
            outcome.fail(connection, task, failed, leftovers)

    def deleting(self, task: Task, location: Location, *, whole_image: bool) -> None:
        """The location's data is about to be deleted; ``whole_image``: from every store, and the record with the last one.

        What `recover` may finish if the process dies. Ended by `remove_location`, `delete_image` or `kept`.
        """
        with self._held(task) as connection:
            journal.deleting(connection, task, location, whole_image)

    def kept(self, task: Task, location: Location) -> None:
        """The data that was about to be deleted has not been, and nobody is going to."""
        with self._held(task) as connection:
            journal.deleted(connection, task, location)

    def remove_location(self, task: Task, location: Location) -> None:
        """Drop a location whose object is gone. Raises InvalidRequest for an active image's only one."""
        with self._held(task) as connection:
            outcome.remove_location(connection, task, location)

    # What went wrong

    def failures(self, image_id: str) -> list[Failure]:
        """Why the stores in the image's failed list failed, by store id."""
        with self._database.read() as connection:
            return outcome.failures_of(connection, image_id)

    def record_leftovers(self, image_id: str, leftovers: Sequence[Leftover]) -> None:
        """Remember what could not be removed. Needs no lock: who lost it has leftovers all the same."""
        with self._database.write() as connection:
            outcome.save_leftovers(connection, image_id, leftovers)

    def leftovers(self) -> list[RecordedLeftover]:
        """What is still in stores because removing it failed, oldest first."""
        with self._database.read() as connection:
            return outcome.all_leftovers(connection)

    def remove_leftover(self, number: int) -> bool:
        """Forget a leftover that has been removed at last. False if it was forgotten already."""
        with self._database.write() as connection:
            return outcome.remove_leftover(connection, number)

    @contextmanager
    def _held(self, task: Task) -> Iterator[Connection]:
        """A transaction of the task that holds the image, kept only if no image is active without data at its end."""
        with self._database.write() as connection:
            locks.require(connection, task)
            yield connection
            outcome.require_data(connection, task.image_id)

    def _refusal(self, image_id: str) -> ImageLocked | ImageNotFound:
        """Why the lock could not be inserted."""
        with self._database.read() as connection:
            images.get(connection, image_id)
            holder = locks.holder(connection, image_id)
        if holder is None:
            return ImageLocked(f"image {image_id} was held by another operation until now; try again")
        return _locked(image_id, holder)


def _check_task(image_id: str, task: Task) -> None:
    if task.image_id != image_id:
        raise InvalidRequest(f"task {task.id} is for image {task.image_id}, not {image_id}")


def _locked(image_id: str, holder: Task) -> ImageLocked:
    return ImageLocked(f"image {image_id} is locked: {why_locked(holder)}")
