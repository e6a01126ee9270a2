"""Writing one image of a Swift store: segments first, then the manifest that makes them an image.

A small image is kept in memory and is one PUT, the commit's. Until then the container has nothing of it.

The manifest is a static large object's: when it is put, the cluster looks at every segment and compares its size and ETag with
what it told when the segment was stored. Nothing rests on a listing, which may lag behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from glance_stream import threads
from glance_stream.errors import Duplicate, GlanceStreamError, StoreError, StoreFull
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.stores.base import Writer
from glance_stream.stores.swift.client import SwiftClient
from glance_stream.stores.swift.commit import Commit, ManifestCommit, WholeCommit, is_of
from glance_stream.stores.swift.names import Group
from glance_stream.stores.swift.plan import Plan
from glance_stream.stores.swift.traces import PUT_WITHIN, discard, is_there, require_settled
from glance_stream.stores.swift.upload import Upload

END_SECONDS = 5.0  # that an abort gives a segment whose last byte was sent: cut off, it may be stored after it was looked for

Prepare = Callable[[int | None], Plan]  # with size hint: the store's part of the opening


class SwiftWriter(Writer):
    """One image on its way. What a view has goes into the connection, 1 MiB at a time, and is not kept.

    Kept is what may still be a small image: at most 8 MiB, the first of one whose size is not known, and nothing of one that is
    known to be larger.

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
        verify_etag: bool | None,
    ) -> None:
        """``policy``: for what holds no bytes, the beginning of a segment and the commit.

        ``verify_etag``: compare the MD5 of each segment; None: where nothing else protects it on its way.
        """
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
        self._upload: Upload | None = None
        self._kept: bytearray | None = None  # all of the image so far; None once it is too large for that
        self._segments: list[tuple[int, str]] = []  # size and ETag
        self._touched = 0  # segments that may be in the container
        self._sent = 0  # bytes given to uploads of segments
        self._flushed: int | None = None
        self._doubtful = False  # the image may be there, by this writer
        self._commits: Commit | None = None  # once it was sent
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
            if self._verify_etag is None:
                self._verify_etag = self._client.authentication.access().storage_url.startswith("http://")
            self._kept = bytearray() if plan.is_whole(self._size_hint or 0) else None
            self._plan = plan

    @property
    def _size(self) -> int:
        """Bytes written so far."""
        return self._sent + len(self._kept or b"")

    def write(self, view: memoryview) -> None:
        with self._writing:
            self._check()
            self._flushed = None
            try:
                with view.cast("B") as left:
                    self._write(left)
            except GlanceStreamError as error:
                self._error = error  # its bytes are gone: nothing can come of this writer any more
                self._let_go()
                raise

    def _write(self, view: memoryview) -> None:
        assert self._plan is not None
        size = self._size + len(view)
        if not self._plan.has_room(size):  # the cluster itself can't tell while the size is not announced
            raise StoreFull(self._store_id, f"more than the {self._plan.room} bytes that the container's quota had left")
        if self._kept is not None and self._plan.is_whole(size):
            self._kept += view
            return
        self._send_kept()
        self._send(view)

    def _send_kept(self) -> None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            with memoryview(kept) as first:
                self._send(first)

    def _send(self, view: memoryview) -> None:
        at = 0
        while at < len(view):
            upload = self._upload or self._begin_segment()
            count = min(upload.room, len(view) - at)
            with view[at : at + count] as piece:
                upload.send(piece)
            at += count
            self._sent += count
            if not upload.room:
                self._end_segment(upload)

    def _begin_segment(self) -> Upload:
        assert self._plan is not None
        number = len(self._segments) + 1
        capacity = self._plan.size(number)
        if not capacity:
            raise StoreFull(self._store_id, f"more than {number - 1} segments: choose a larger segment_size")
        announced = None if self._size_hint is None else max(0, self._size_hint - self._sent)
        length = min(capacity, announced) if announced else None
        upload = Upload(self._client, self._group.segment(number), length, capacity, md5=bool(self._verify_etag))
        self._touched = number
        self._upload = upload
        self._check_live()  # an abort that came before the line above has not seen it
        self._policy.run(upload.offer, self._aborted)
        return upload

    def _end_segment(self, upload: Upload) -> None:
        etag = upload.finish()
        self._segments.append((upload.sent, etag))
        self._upload = None

    async def flush(self, size: int) -> None:
        await threads.call(self._flush, size)

    def _flush(self, size: int) -> None:
        with self._turn, self._writing:
            self._check()
            if self._size != size or not size:
                raise StoreError(self._store_id, f"holds {self._size} bytes, not {size}; an image has at least one")
            upload = self._upload
            if upload is not None:
                if upload.room and self._size_hint is not None and size < self._size_hint:
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
        with self._turn, self._writing:
            try:
                if time.time() > self._group.since + PUT_WITHIN:
                    self._have_segments()
                commit = self._whole() if self._kept is not None else ManifestCommit(self._client, self._group, self._segments)
                self._check_live()
                self._doubtful = True
                self._commits = commit
                commit.run(self._policy, self._aborted)
                self._committed = True
            finally:
                self._let_go()

    def _have_segments(self) -> None:
        """A PUT of the whole image that stayed without an answer would be in doubt for too long."""
        self._send_kept()
        if self._upload is not None:
            self._end_segment(self._upload)

    def _whole(self) -> WholeCommit:
        assert self._kept is not None
        commit = WholeCommit(self._client, self._group, self._kept)
        self._upload = commit.upload  # for an abort to cut
        return commit

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
            self._let_go()
        finally:
            self._writing.release()
        with self._turn:
            if self._doubtful and not self._committed:
                self._remove_image()
                self._doubtful = False
            if self._touched and not self._committed:
                discard(self._client, self._group, self._touched)
                self._touched = 0

    def _remove_image(self) -> None:
        """What a commit in doubt may have made, and nobody else."""
        assert self._commits is not None
        with self._client.session() as session:
            found = session.head(self._group.image_id)
            if found is not None and is_of(self._client, session, found, self._group):
                session.delete(self._group.image_id)
                if not self._commits.answered and self._commits.unanswered == 1:
                    self._commits.unanswered = 0  # this was it

    async def published(self) -> Location | None:
        """A whole image whose PUT was never answered may still come: then this can't be told for up to an hour.

        A manifest can't once its segments are gone: the cluster looks at each of them.
        """
        return self._location if await threads.call(self._has_published) else None

    def _has_published(self) -> bool:
        with self._turn:
            if self._commits is None:
                return False
            with self._client.session() as session:
                if is_there(self._client, session, self._group):
                    return True
            if self._commits.unanswered and self._touched:
                raise StoreError(self._store_id, f"segments of {self._group.image_id} are still there: its manifest may come")
            if self._commits.unanswered and isinstance(self._commits, WholeCommit):
                require_settled(self._client, self._group)
            return False

    def _let_go(self) -> None:
        upload, self._upload, self._kept = self._upload, None, None
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
