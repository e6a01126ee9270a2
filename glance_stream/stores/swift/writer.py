"""Writing one image of a Swift store: segments first, then the manifest that makes them an image.

The manifest is a static large object's: when it is put, the cluster looks at every segment and compares its size and ETag with
what it told when the segment was stored. Nothing rests on a listing, which may lag behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from glance_stream import threads
from glance_stream.errors import Duplicate, GlanceStreamError, StoreError, StoreFull
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.stores.base import Writer
from glance_stream.stores.swift.client import SwiftClient
from glance_stream.stores.swift.commit import Commit
from glance_stream.stores.swift.names import Group
from glance_stream.stores.swift.plan import Plan
from glance_stream.stores.swift.traces import discard
from glance_stream.stores.swift.upload import SegmentUpload

END_SECONDS = 5.0  # that an abort gives a segment whose last byte was sent: cut off, it may be stored after it was looked for

Prepare = Callable[[int | None], Plan]  # with size hint: the store's part of the opening


class SwiftWriter(Writer):
    """One image on its way. It holds nothing of the image: what a view has goes into the connection, 1 MiB at a time.

    A known size is announced, segment by segment, so that the cluster can refuse early; one that turns out wrong fails the flush.
    While nothing is written for longer than the cluster's client_timeout (60 s), it gives up the segment and the writer fails.
    """

    def __init__(
        self,
        client: SwiftClient,
        prepare: Prepare,
        group: Group,
        trace: str,
        location: Location,
        *,
        policy: RetryPolicy,
        verify_etag: bool,
    ) -> None:
        """``policy``: for what holds no bytes, the beginning of a segment and the commit."""
        self._client = client
        self._policy = policy
        self._prepare = prepare
        self._group = group
        self._location = location
        self._verify_etag = verify_etag
        self._store_id = client.store_id
        self.trace = trace
        self._turn = threading.Lock()  # of open, flush, commit and abort, in their threads: an abort waits for what is under way
        self._writing = threading.Lock()  # held by the thread that uses the upload
        self._stop = threading.Event()  # no more is written
        self._aborted = threading.Event()
        self._begun = False
        self._committed = False
        self._plan: Plan | None = None
        self._size_hint: int | None = None
        self._upload: SegmentUpload | None = None
        self._segments: list[tuple[int, str]] = []  # size and ETag
        self._touched = 0  # segments that may be in the container
        self._written = 0
        self._flushed: int | None = None
        self._error: GlanceStreamError | None = None

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        if self._begun or self._stop.is_set():
            raise StoreError(self._store_id, "a writer is opened once")
        self._begun = True
        self._size_hint = size_hint
        await threads.call(self._open)

    def _open(self) -> None:
        with self._turn:
            self._check_live()
            plan = self._prepare(self._size_hint)
            with self._client.session() as session:
                if session.head(self._group.image_id) is not None:
                    raise Duplicate(self._store_id, f"{self._location.url} is there already")
            self._plan = plan

    def write(self, view: memoryview) -> None:
        with self._writing:
            self._check()
            self._flushed = None
            try:
                with view.cast("B") as left:
                    self._write(left)
            except GlanceStreamError as error:
                self._error = error  # its bytes are gone: nothing can come of this writer any more
                self._close_upload()
                raise

    def _write(self, view: memoryview) -> None:
        assert self._plan is not None
        if not self._plan.has_room(self._written + len(view)):  # the cluster itself can't tell while the size is not announced
            raise StoreFull(self._store_id, f"more than the {self._plan.room} bytes that the container's quota had left")
        at = 0
        while at < len(view):
            upload = self._upload or self._begin_segment()
            count = min(upload.room, len(view) - at)
            with view[at : at + count] as piece:
                upload.send(piece)
            at += count
            self._written += count
            if not upload.room:
                self._end_segment(upload)

    def _begin_segment(self) -> SegmentUpload:
        assert self._plan is not None
        number = len(self._segments) + 1
        capacity = self._plan.size(number)
        if not capacity:
            raise StoreFull(self._store_id, f"more than {number - 1} segments: choose a larger segment_size")
        announced = None if self._size_hint is None else max(0, self._size_hint - self._written)
        length = min(capacity, announced) if announced else None
        upload = SegmentUpload(self._client, self._group.segment(number), length, capacity, self._verify_etag)
        self._touched = number
        self._upload = upload
        self._check()  # an abort that came before the line above has not seen it
        self._policy.run(lambda: self._offer(upload), self._stop)
        return upload

    def _offer(self, upload: SegmentUpload) -> None:
        """Raises StoreError when the cluster does not take it. No byte was sent yet: it can be offered again."""
        authentication = self._client.authentication
        access = authentication.access()
        refused = upload.begin(access)
        if refused is not None and refused.status == 401:
            refused = upload.begin(authentication.access(refused=access))
        if refused is not None and refused.status == 404:
            raise StoreError(self._store_id, f"the container {self._client.container} is not there any more")
        if refused is not None:
            raise self._client.refusal(refused, "writing a segment")

    def _end_segment(self, upload: SegmentUpload) -> None:
        etag = upload.finish()
        self._segments.append((upload.sent, etag))
        self._upload = None

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        with self._turn, self._writing:
            self._check()
            if self._written != size or not size:
                raise StoreError(self._store_id, f"holds {self._written} bytes, not {size}; an image has at least one")
            upload = self._upload
            if upload is not None:
                if upload.room and self._size_hint is not None and self._written < self._size_hint:
                    raise StoreError(self._store_id, f"{self._size_hint} bytes were announced, {size} came")
                self._end_segment(upload)
            self._flushed = size

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        self._check()
        self._stop.set()
        if size != self._flushed:
            raise StoreError(self._store_id, f"commit of {size} bytes, {self._flushed} were flushed")
        await threads.call(self._commit)
        return self._location

    def _commit(self) -> None:
        with self._turn:
            self._check_live()
            Commit(self._client, self._group, self._segments).run(self._policy, self._aborted)
            self._committed = True

    async def abort(self) -> None:
        self._stop.set()
        self._aborted.set()
        upload = self._upload
        if upload is not None and not upload.complete:
            upload.cut()
        await threads.call(self._remove)

    def _remove(self) -> None:
        if not self._writing.acquire(timeout=END_SECONDS):
            upload = self._upload
            if upload is not None:
                upload.cut()
            self._writing.acquire()
        try:
            self._close_upload()
        finally:
            self._writing.release()
        with self._turn:
            if self._touched and not self._committed:
                discard(self._client, self._group, self._touched)
                self._touched = 0

    def _close_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.close()

    def _check_live(self) -> None:
        """Raises StoreError once it was aborted: a call that was given up may come to its turn only then."""
        if self._aborted.is_set():
            raise StoreError(self._store_id, "the writer has ended")

    def _check(self) -> None:
        """Raises StoreError unless it is open."""
        if self._stop.is_set() or self._plan is None:
            raise StoreError(self._store_id, "the writer has ended" if self._stop.is_set() else "the writer is not open")
        if self._error is not None:
            raise StoreError(self._store_id, f"the writer has failed: {self._error}")
