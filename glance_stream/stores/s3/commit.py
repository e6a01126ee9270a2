"""What makes an object of what was sent, and what is known of it when the answer was lost: the object bears the writer's nonce."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from glance_stream.errors import Duplicate, NotFound, StoreError, StoreUnavailable
from glance_stream.retry import RetryPolicy
from glance_stream.stores.s3.client import Bucket, S3Object
from glance_stream.stores.s3.doubt import is_there, require_settled

LOOKS = 3  # for an object whose commit was answered well: Swift's servers may take a moment


@dataclass(frozen=True)
class Author:
    """A writer as its object names it. ``since``: when it was made."""

    key: str
    nonce: str
    since: int


class Commit:
    """Of one writer; at most one `publish`. What another has put under the key is never touched."""

    def __init__(self, store_id: str, bucket: Bucket, author: Author, policy: RetryPolicy, stopped: threading.Event) -> None:
        """``policy``: for the looks, which nobody above repeats while a commit is under way."""
        self._store_id = store_id
        self._bucket = bucket
        self._author = author
        self._key = author.key
        self._policy = policy
        self._stopped = stopped
        self._sent = False
        self._doubtful = False
        self._only = False  # it was one, and none was answered
        self._awaited = False  # a PUT that was sent and never answered may still take effect

    def require_free_name(self) -> None:
        if self._look() is not None:
            raise Duplicate(self._store_id, f"{self._key} is there already")

    def _look(self) -> S3Object | None:
        return self._policy.run(lambda: self._bucket.head(self._key), self._stopped)

    def publish(self, size: int, send: Callable[[], str], unanswered: Callable[[], int]) -> None:
        """``send`` gives the object's ETag; ``unanswered``: PUTs of which it is not known whether they took effect."""
        self.require_free_name()
        self._sent = self._doubtful = True
        answered = False
        try:
            etag = send()
            answered = True
        except StoreError as error:
            self._settle(size, error)
        else:
            self._require_ours(size, etag)
        finally:
            # Where none was answered well, the object that is seen is that of one without an answer.
            self._awaited = unanswered() > 0
            self._only = not answered and unanswered() == 1
        self._doubtful = False

    def _settle(self, size: int, error: StoreError) -> None:
        """A request that was repeated finds its own object; an answer may have been lost."""
        try:
            found = self._look()
        except StoreError as unseen:
            if isinstance(error, Duplicate):  # of which object?
                raise StoreUnavailable(self._store_id, f"{self._key}: the commit is in doubt: {unseen.args[0]}") from error
            raise error from unseen
        if found is None:
            raise error
        if found.writer != self._author.nonce:
            self._doubtful = False
            raise Duplicate(self._store_id, f"{self._key} was written by another meanwhile") from error
        self._require_size(found, size)

    def _require_ours(self, size: int, etag: str) -> None:
        found = None
        for turn in range(LOOKS):
            time.sleep(0.2 * turn)
            found = self._look()
            if found is not None:
                break
        if found is None:
            raise StoreUnavailable(self._store_id, f"{self._key} was written, but it is not there")
        kept = found.writer is not None or not etag  # there are servers that lose what they were told of an object
        if found.writer != self._author.nonce and (kept or found.etag != etag):
            self._doubtful = False
            raise Duplicate(self._store_id, f"{self._key} was written by another meanwhile")
        self._require_size(found, size)

    def _require_size(self, found: S3Object, size: int) -> None:
        if found.size != size:
            raise StoreError(self._store_id, f"{self._key} was written with {size} bytes, but has {found.size}")

    def undo(self) -> None:
        """Remove what a commit in doubt has made. Raises StoreError."""
        if self._doubtful:
            found = self._policy.run(lambda: self._bucket.head(self._key))
            if found is not None and found.writer == self._author.nonce:
                with suppress(NotFound):
                    self._policy.run(lambda: self._bucket.delete(self._key))
                self._awaited = self._awaited and not self._only
        self._doubtful = False

    def has_published(self) -> bool:
        """Once its upload, if it had one, is gone. Raises StoreError where it can't be told now."""
        if not self._sent:
            return False
        if self._policy.run(lambda: is_there(self._bucket, self._key, self._author.nonce)):
            return True
        if self._awaited:
            require_settled(self._store_id, self._bucket, self._key, self._author.since)
        return False
