"""Writing one image into a bucket.

An image of up to 8 MiB that fits into one part is one PUT, sent by the commit: until then it is in memory only. Any other is a
multipart upload, which its commit completes. Either asks the server to refuse if the name is taken (If-None-Match; RFC 9110,
13.1.2), and since not every server listens (radosgw 16 does not at a completion), an object is looked for just before.

The object's metadata say which writer made it. So when the answer to a commit is lost, the object itself tells (``commit.py``).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from glance_stream import threads
from glance_stream.errors import Duplicate, NotFound, StoreError
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores.base import Writer
from glance_stream.stores.s3.client import Bucket, ListedPart, SentPart, Upload
from glance_stream.stores.s3.collector import Collector
from glance_stream.stores.s3.commit import Author, Commit
from glance_stream.stores.s3.doubt import PUT_WITHIN, WHOLE, remove_uploads
from glance_stream.stores.s3.left import find_left, kept_part
from glance_stream.stores.s3.names import Place, Trace
from glance_stream.stores.s3.parts import PartSizes
from glance_stream.stores.s3.sender import Sender


@dataclass(frozen=True)
class WriterOptions:
    """``part_size`` and ``memory`` in bytes: of one part, and of all parts of a writer together."""

    part_size: int
    memory: int
    checksum: str
    limits: HttpLimits
    ca: str | None

    @property
    def policy(self) -> RetryPolicy:
        """For what only a writer can ask again."""
        return RetryPolicy(self.limits.tries, self.limits.backoff_seconds, self.limits.backoff_most_seconds)


class S3Writer(Writer):
    """One image on its way. ``uploads``: the ids of the uploads of all writers of this store that live, and their traces."""

    def __init__(
        self,
        store_id: str,
        bucket: Bucket,
        place: Place,
        key: str,
        options: WriterOptions,
        uploads: MutableMapping[str, str],
        prepare: Callable[[], None],
        left: Trace | None = None,
    ) -> None:
        """``prepare``: makes sure of the bucket; may block. ``left``: the trace of the dead writer that this one goes on for."""
        self._store_id = store_id
        self._bucket = bucket
        self._place = place
        self._key = key
        self._options = options
        self._uploads = uploads
        self._prepare = prepare
        self._nonce = (left and left.writer) or secrets.token_hex(8)
        self._since = left.since if left else int(time.time())
        self.trace = place.writer_trace(key, self._nonce, self._since)
        self._lock = threading.Lock()
        self._begun = self._ended = False
        self._sender: Sender | None = None
        self._collector: Collector | None = None
        self._making = threading.Lock()  # held while something is made in the bucket: an abort waits for it
        self._upload_id: str | None = None
        self._resumed = left is not None
        self._unknown = self._resumed  # there may be an upload of ours whose id never came
        self._left: Mapping[int, ListedPart] = {}
        self._kept = 0
        self._stopped = threading.Event()
        self._policy = options.policy
        self._committing = Commit(store_id, bucket, Author(key, self._nonce, self._since), self._policy, self._stopped)
        self._parts: list[SentPart] = []
        self._flushed: int | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun = True
        await threads.call(self._open, size_hint)

    def _open(self, size_hint: int | None) -> None:
        self._prepare()
        self._committing.require_free_name()
        options = self._options
        sender = Sender(self._store_id, self._bucket, self._key, options.checksum, options.limits, options.ca)
        sizes = PartSizes(options.part_size, size_hint)
        collector = Collector(self._store_id, sizes, options.memory, self._upload, self._send_part)
        with self._lock:
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            self._sender, self._collector = sender, collector
        if self._resumed:
            self._find_left(sender.algorithm, sizes, size_hint)
        if size_hint is not None and size_hint > min(WHOLE, sizes[1]):
            self._upload()  # what may not be written is known before the first byte

    def _find_left(self, algorithm: str | None, sizes: PartSizes, size_hint: int | None) -> None:
        if size_hint is None:
            raise NotFound(self._store_id, f"{self._key}: whether there are too many parts can't be told without the image's size")
        with self._making:
            self._open_parts()
            left = find_left(self._bucket, self._key, self._since, self.trace, self._uploads, algorithm, sizes.count(size_hint))
            if left is None:
                raise NotFound(self._store_id, f"there is no upload of {self._key} to go on with")
            self._upload_id, self._left = left.upload_id, left.parts
            self._uploads[left.upload_id] = self.trace

    @property
    def kept(self) -> int:
        return self._kept

    def write(self, view: memoryview) -> None:
        _, collector = self._open_parts()
        if self._flushed is not None:
            raise StoreError(self._store_id, "nothing can be written after the last part")
        collector.write(view)

    def _send_part(self, number: int, body: memoryview) -> SentPart:
        sender, _ = self._open_parts()
        assert self._upload_id is not None
        kept = kept_part(self._left.get(number), body)
        if kept is not None:
            with self._lock:
                self._kept += len(body)
            return kept
        return sender.put_part(self._upload_id, number, body)

    def _upload(self) -> str:
        """The id of this writer's upload, which the first caller begins."""
        with self._making:
            sender, _ = self._open_parts()
            if self._upload_id is None:
                self._upload_id = self._begin_upload(sender.algorithm)
                self._uploads[self._upload_id] = self.trace
            return self._upload_id

    def _begin_upload(self, checksum: str | None) -> str:
        tries = 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            return self._bucket.create_upload(self._key, self._nonce, checksum)

        self._unknown = True
        upload_id = self._policy.run(attempt, self._stopped)
        self._unknown = tries > 1  # each try may have made one
        return upload_id

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        _, collector = self._open_parts()
        if collector.size != size:
            raise StoreError(self._store_id, f"holds {collector.size} bytes, not {size}")
        if collector.shipped or self._upload_id is not None or size > WHOLE:
            self._parts = collector.finish()
        self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        await threads.call(self._commit, size)
        return Location(self._place.location(self._key), self._store_id)

    def _commit(self, size: int) -> None:
        sender, collector = self._open_parts()
        try:
            if size != self._flushed:
                raise StoreError(self._store_id, f"commit of {size} bytes, {self._flushed} were flushed")
            if self._upload_id is None and time.time() > self._since + PUT_WITHIN:
                self._parts = collector.finish()  # a PUT that stayed without an answer would be in doubt for too long
            with self._making:
                self._publish(sender, collector, size)
                if self._unknown:  # a second upload, of a request that was repeated
                    self._remove_uploads()
                self._forget()
        finally:
            self._end()
            collector.wait()
            sender.close()

    def _publish(self, sender: Sender, collector: Collector, size: int) -> None:
        self._open_parts()  # an abort may have come first
        upload_id = self._upload_id
        if upload_id is not None:

            def send() -> str:
                try:
                    return self._policy.run(lambda: self._bucket.complete(self._key, upload_id, self._parts), self._stopped)
                except StoreError as error:
                    if not isinstance(error, Duplicate) and self._is_gone(upload_id):
                        message = f"the upload of {self._key} is gone: unless this has completed it, it was discarded"
                        raise StoreError(self._store_id, message) from error
                    raise

            self._committing.publish(size, send, lambda: 0)
        else:

            def put() -> str:
                with collector.whole() as body:
                    return sender.put_object(self._nonce, body)

            self._committing.publish(size, put, lambda: sender.unanswered)

    def _is_gone(self, upload_id: str) -> bool:
        with suppress(StoreError):
            return self._bucket.parts(Upload(self._key, upload_id, 0.0)) is None
        return False

    async def published(self) -> Location | None:
        """A PUT that was never answered may still take effect: then this can't be told for up to an hour (``doubt.py``)."""
        there = await threads.call(self._has_published)
        return Location(self._place.location(self._key), self._store_id) if there else None

    def _has_published(self) -> bool:
        with self._making:
            gone = self._upload_id is None or self._bucket.parts(Upload(self._key, self._upload_id, 0.0)) is None
            there = self._committing.has_published()
            if not there and not gone:
                raise StoreError(self._store_id, f"the upload of {self._key} is still there: it may be completed")
            return there

    async def abort(self) -> None:
        self._end()
        await threads.call(self._remove)

    def _remove(self) -> None:
        with self._lock:
            sender, collector = self._sender, self._collector
        if sender is not None and collector is not None:
            sender.stop()
            collector.wait()
        with self._making:
            if sender is not None:
                sender.close()
            if self._upload_id is not None:
                self._policy.run(partial(self._bucket.remove_upload, self._key, self._upload_id))
                self._uploads.pop(self._upload_id, None)
                self._upload_id = None
            if self._unknown:
                self._remove_uploads()
                self._unknown = False
            self._committing.undo()

    def _remove_uploads(self) -> None:
        self._policy.run(partial(remove_uploads, self._bucket, self._key, self._since, self.trace, self._uploads))

    def _forget(self) -> None:
        """Committed: nothing is this writer's to remove any more."""
        if self._upload_id is not None:
            self._uploads.pop(self._upload_id, None)
        self._upload_id, self._unknown = None, False

    def _open_parts(self) -> tuple[Sender, Collector]:
        with self._lock:
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            if self._sender is None or self._collector is None:
                raise StoreError(self._store_id, "the writer is not open")
            return self._sender, self._collector

    def _end(self) -> None:
        self._stopped.set()
        with self._lock:
            self._ended = True
            collector = self._collector
        if collector is not None:
            collector.stop(StoreError(self._store_id, "the writer has ended"))
