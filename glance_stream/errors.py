"""Every error this package raises on purpose.

Two levels: one base, its direct children, and the children of :class:`SourceError` and :class:`StoreError`. A class says three
things that callers act upon:

``exit_code``
    what the command-line tool exits with (the list is in :mod:`glance_stream.cli`).
``retryable``
    whether the same call may succeed later with nothing changed by the caller.
``leftovers``
    what could not be removed while undoing; empty when the state is as it was before.

Nothing above a store or a source sees an SDK's or the operating system's own exception: it is mapped at that edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_BAD_REQUEST = 2
EXIT_PARTIAL = 3
EXIT_FAILED = 4
EXIT_LEFTOVERS = 5
EXIT_LOCKED = 6
EXIT_DAMAGED = 7
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Leftover:
    """Something of ours that is still in a store because removing it failed."""

    store_id: str
    trace: str
    reason: str


class GlanceStreamError(Exception):
    """Base of all errors of this package."""

    exit_code = EXIT_FAILED
    retryable = False
    leftovers: tuple[Leftover, ...] = ()


class InvalidRequest(GlanceStreamError):
    """The request can't be carried out as it stands; nothing was changed."""

    exit_code = EXIT_BAD_REQUEST


class ImageNotFound(InvalidRequest):
    """The catalogue has no image with that id."""


class ImageLocked(GlanceStreamError):
    """Another operation holds the image (HTTP 409 in Glance)."""

    exit_code = EXIT_LOCKED
    retryable = True


class LockLost(GlanceStreamError):
    """The image's lock was taken by another while this operation ran; what it wrote was removed."""

    exit_code = EXIT_LOCKED
    retryable = True


class SourceError(GlanceStreamError):
    """The source could not be read, ended early, or changed while it was read."""

    retryable = True


class SourceNotFound(SourceError):
    """The server has no such image (any more)."""

    retryable = False


class DecodeError(GlanceStreamError):
    """The compressed stream is truncated, corrupt, or not what it claims to be."""


class FormatRejected(GlanceStreamError):
    """The content must not be stored: unsafe, not what it is said to be, or compressed inside compressed data."""


class EmptyImage(GlanceStreamError):
    """The source has no data; an image without data never becomes active."""


class LimitExceeded(GlanceStreamError):
    """The image is larger, or expands further, than the limits allow."""


class DigestMismatch(GlanceStreamError):
    """The bytes read are not the bytes that were expected."""


class CatalogueError(GlanceStreamError):
    """The catalogue's database refused or could not be reached."""

    retryable = True


class CatalogueUnavailable(CatalogueError):
    """The database could not be reached, or ended the transaction for others' sake: the same again may well succeed."""


class RecordInDoubt(CatalogueError):
    """Whether a record took effect can't be told (its answer was lost): nothing is undone, `recover` settles it."""

    exit_code = EXIT_LEFTOVERS
    retryable = False


class ImportFailed(GlanceStreamError):
    """One or more stores failed and the request could not be met; everything was rolled back.

    ``failures`` gives the reason for each store that failed by itself.
    """

    def __init__(self, message: str, failures: Mapping[str, GlanceStreamError]) -> None:
        super().__init__(message)
        self.failures = dict(failures)


class StoreError(GlanceStreamError):
    """A store failed. ``store_id`` names it; the message never holds a credential.

    ``retry_after``: seconds that the store itself asks to wait before the next try (RFC 9110, 10.2.3); None if it said nothing.
    """

    def __init__(self, store_id: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.store_id = store_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"store {self.store_id!r}: {self.args[0]}"


class Duplicate(StoreError):
    """The store already holds an object for this image; it is never overwritten."""


class NotFound(StoreError):
    """The store has no such object."""


class ObjectDamaged(StoreError):
    """The store has the object and has lost bytes of it, for good as far as the store tells."""


class StoreFull(StoreError):
    """No space or quota left in the store."""


class StoreDenied(StoreError):
    """The store refused access."""


class StoreReadOnly(StoreError):
    """The store can't be written to, or can't delete."""

    exit_code = EXIT_BAD_REQUEST


class ObjectBusy(StoreError):
    """The object is in use (a clone or snapshot depends on it) and can't be deleted now."""

    retryable = True


class StoreUnavailable(StoreError):
    """The store could not be reached or failed in a way that may pass."""

    retryable = True


class StoreTimeout(StoreError):
    """A call to the store did not finish within its time limit."""

    retryable = True
