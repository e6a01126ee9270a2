"""Writing one image into a bucket.

An image that fits into one part is one PUT, sent by the commit: until then it is in memory only. Any other is a multipart upload,
which its commit completes. Either asks the server to refuse if the name is taken (If-None-Match; RFC 9110, 13.1.2), and since not
every server listens (radosgw 16 does not at a completion), an object is looked for just before.

The object's metadata say which writer made it. So when the answer to a commit is lost, the object itself tells.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from glance_stream import threads
from glance_stream.errors import Duplicate, NotFound, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores.base import Writer
from glance_stream.stores.s3.client import Bucket, SentPart, Upload
from glance_stream.stores.s3.collector import Collector
from glance_stream.stores.s3.names import Place
from glance_stream.stores.s3.parts import PartSizes
from glance_stream.stores.s3.sender import Sender

# Servers refuse a request signed by a clock more than 15 minutes off theirs (RequestTimeTooSkewed): that bounds the difference.
CLOCK_SKEW = 900
LOOKS = 3  # for an object whose commit was answered well: Swift's servers may take a moment


@dataclass(frozen=True)
class WriterOptions:
    """``part_size`` and ``memory`` in bytes: of one part, and of all parts of a writer together."""

    part_size: int
    memory: int
    checksum: str
    limits: HttpLimits
    ca: str | None


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
    ) -> None:
        """``prepare``: makes sure of the bucket; may block."""
        self._store_id = store_id
        self._bucket = bucket
        self._place = place
        self._key = key
        self._options = options
        self._uploads = uploads
        self._prepare = prepare
        self._nonce = secrets.token_hex(8)
        self._since = int(time.time())
        self.trace = place.writer_trace(key, self._nonce, self._since)
        self._lock = threading.Lock()
        self._begun = self._ended = False
        self._sender: Sender | None = None
        self._collector: Collector | None = None
        self._making = threading.Lock()  # held while something is made in the bucket: an abort waits for it
        self._upload_id: str | None = None
        self._unknown = False  # there may be an upload of ours whose id never came
        self._doubtful = False  # there may be an object of ours
        self._parts: list[SentPart] = []
        self._flushed: int | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._ended:
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun = True
        await threads.call(self._open, size_hint)

    def _open(self, size_hint: int | None) -> None:
        self._prepare()
        self._require_free_name()
        options = self._options
        sender = Sender(self._store_id, self._bucket, self._key, options.checksum, options.limits, options.ca)
        sizes = PartSizes(options.part_size, size_hint)
        collector = Collector(self._store_id, sizes, options.memory, self._upload, self._send_part)
        with self._lock:
            if self._ended:
                raise StoreError(self._store_id, "the writer has ended")
            self._sender, self._collector = sender, collector
        if size_hint is not None and size_hint > sizes[1]:
            self._upload()  # what may not be written is known before the first byte

    def _require_free_name(self) -> None:
        if self._bucket.head(self._key) is not None:
            raise Duplicate(self._store_id, f"{self._key} is there already")

    def write(self, view: memoryview) -> None:
        _, collector = self._open_parts()
        if self._flushed is not None:
            raise StoreError(self._store_id, "nothing can be written after the last part")
        collector.write(view)

    def _send_part(self, number: int, body: memoryview) -> SentPart:
        sender, _ = self._open_parts()
        assert self._upload_id is not None
        return sender.put_part(self._upload_id, number, body)

    def _upload(self) -> str:
        """The id of this writer's upload, which the first caller begins."""
        with self._making:
            sender, _ = self._open_parts()
            if self._upload_id is None:
                self._unknown = True
                self._upload_id, only = self._bucket.create_upload(self._key, self._nonce, sender.algorithm)
                self._unknown = not only
                self._uploads[self._upload_id] = self.trace
            return self._upload_id

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        _, collector = self._open_parts()
        if collector.size != size:
            raise StoreError(self._store_id, f"holds {collector.size} bytes, not {size}")
        if collector.shipped or self._upload_id is not None:
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
        self._require_free_name()
        self._doubtful = True
        try:
            if self._upload_id is not None:
                self._bucket.complete(self._key, self._upload_id, self._parts, sender.algorithm)
            else:
                with collector.whole() as body:
                    sender.put_object(self._nonce, body)
        except StoreError as error:
            # A request that was repeated finds its own object, or its upload gone; an answer may have been lost.
            if not self._is_ours(size):
                if self._upload_id is not None and self._is_gone(self._upload_id):
                    raise StoreError(self._store_id, f"the upload of {self._key} is gone: it was discarded") from error
                raise
        else:
            self._require_ours(size)
        self._doubtful = False

    def _is_ours(self, size: int) -> bool:
        found = None
        with suppress(StoreError):  # what the commit failed with is what is told
            found = self._bucket.head(self._key)
            if found is None or found.writer != self._nonce:
                self._doubtful = found is None
                return False
        return found is not None and found.size == size

    def _is_gone(self, upload_id: str) -> bool:
        with suppress(StoreError):
            return self._bucket.parts(Upload(self._key, upload_id, 0.0)) is None
        return False

    def _require_ours(self, size: int) -> None:
        for turn in range(LOOKS):
            time.sleep(0.2 * turn)
            found = self._bucket.head(self._key)
            if found is not None:
                break
        if found is None:
            raise StoreUnavailable(self._store_id, f"{self._key} was written, but it is not there")
        if found.writer not in (self._nonce, None):
            self._doubtful = False
            raise Duplicate(self._store_id, f"{self._key} was written by another meanwhile")
        if found.size != size:
            raise StoreError(self._store_id, f"{self._key} was written with {size} bytes, but has {found.size}")

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
                self._bucket.remove_upload(self._key, self._upload_id)
                self._uploads.pop(self._upload_id, None)
                self._upload_id = None
            if self._unknown:
                self._remove_uploads()
                self._unknown = False
            if self._doubtful:
                self._remove_object()
                self._doubtful = False

    def _remove_object(self) -> None:
        """What a commit in doubt may have made, and nobody else."""
        found = self._bucket.head(self._key)
        if found is not None and found.writer == self._nonce:
            with suppress(NotFound):
                self._bucket.delete(self._key)

    def _remove_uploads(self) -> None:
        remove_uploads(self._bucket, self._key, self._since, self.trace, self._uploads)

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
        with self._lock:
            self._ended = True
            collector = self._collector
        if collector is not None:
            collector.stop(StoreError(self._store_id, "the writer has ended"))


def remove_uploads(bucket: Bucket, key: str, since: int, trace: str, uploads: Mapping[str, str]) -> None:
    """Those of the key that a writer made at ``since`` may have begun, and that are not known to be another writer's."""
    for upload in bucket.uploads(key):
        if upload.begun >= since - CLOCK_SKEW and uploads.get(upload.upload_id, trace) == trace:
            bucket.remove_upload(key, upload.upload_id)
