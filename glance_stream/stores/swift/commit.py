"""What makes an image of what was written: one PUT under its name, of the whole image or of a manifest of its segments.

Swift refuses to replace an object (``If-None-Match: *``) and verifies the segments; radosgw replaces whatever is there, verifies
sizes only and does not give a manifest back. So it is looked before and after, and the object bears the writer's mark.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

from glance_stream.errors import Duplicate, NotFound, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.retry import RetryPolicy
from glance_stream.stores.swift.client import Session, SwiftClient
from glance_stream.stores.swift.connection import Reply
from glance_stream.stores.swift.names import Group
from glance_stream.stores.swift.upload import Upload

MARK = "x-object-meta-glance-stream"  # the writer's nonce


class Undecided(StoreError):
    """Whether an image is made of some segments can't be told: they stay."""


class Commit(ABC):
    """``size``: of the image, in bytes. ``unanswered``: PUTs that may have taken effect, or may yet, without having said so."""

    def __init__(self, client: SwiftClient, group: Group, size: int) -> None:
        self._client = client
        self._group = group
        self._size = size
        self._image = f"{client.container}/{group.image_id}"
        self.unanswered = 0
        self.answered = False  # one was, and well

    def run(self, policy: RetryPolicy, stopped: threading.Event) -> None:
        """Raises Duplicate, StoreError."""
        with self._client.session() as session:
            for step in (self._look_before, self._put, self._look_after):
                policy.run(functools.partial(step, session), stopped)

    def _look_before(self, session: Session) -> None:
        if session.head(self._group.image_id) is not None:
            raise Duplicate(self._client.store_id, f"{self._image} is there already")

    def _look(self, session: Session, error: StoreError) -> Reply | None:
        """After ``error``, which is what is told if nobody can look."""
        try:
            return session.head(self._group.image_id)
        except StoreError as unseen:
            raise error from unseen

    @abstractmethod
    def _put(self, session: Session) -> None:
        """Once; may be called again after what may pass."""

    @abstractmethod
    def _is_ours(self, session: Session, found: Reply) -> bool: ...

    def _look_after(self, session: Session) -> None:
        found = session.head(self._group.image_id)
        if found is None:
            raise StoreUnavailable(self._client.store_id, f"{self._image} was stored, and is not there")
        if not self._is_ours(session, found):
            raise Duplicate(self._client.store_id, f"{self._image} was stored by another at the same time")
        if found.length != self._size:
            session.delete(self._group.image_id)
            raise StoreError(self._client.store_id, f"{self._image} was stored with {found.length} bytes, not {self._size}")


class WholeCommit(Commit):
    """Puts an image that was kept until now, with its MD5, which the cluster compares."""

    def __init__(self, client: SwiftClient, group: Group, body: bytearray) -> None:
        super().__init__(client, group, len(body))
        self._body = body
        headers = {"If-None-Match": "*", MARK: group.nonce, "ETag": hashlib.md5(body, usedforsecurity=False).hexdigest()}
        self.upload = Upload(client, group.image_id, len(body), len(body), headers=headers)

    def _put(self, session: Session) -> None:
        try:
            self.upload.offer()
            with memoryview(self._body) as body:
                self.upload.send(body)
            self.upload.finish()
            self.answered = True
        except StoreError as error:
            self.unanswered += self.upload.complete and (self.upload.status is None or self.upload.status >= 500)
            found = self._look(session, error)  # it may have been stored all the same, or another's
            if found is None:
                raise
            if not is_marked(found, self._group):
                raise Duplicate(self._client.store_id, f"{self._image} is there already") from error

    def _is_ours(self, session: Session, found: Reply) -> bool:
        return is_marked(found, self._group)


class ManifestCommit(Commit):
    """Puts the manifest. ``segments``: size and ETag of each."""

    def __init__(self, client: SwiftClient, group: Group, segments: Sequence[tuple[int, str]]) -> None:
        super().__init__(client, group, sum(size for size, _ in segments))
        self._segments = segments

    def _put(self, session: Session) -> None:
        headers = {"If-None-Match": "*", "Content-Type": "application/octet-stream", MARK: self._group.nonce}
        try:
            reply = session.put_manifest(self._group.image_id, self._manifest(), headers)
        except (StoreUnavailable, StoreTimeout) as error:
            self.unanswered += 1
            self._settle(session, error)
        else:
            self._check(session, reply)

    def _is_ours(self, session: Session, found: Reply) -> bool:
        return is_of(self._client, session, found, self._group)

    def _manifest(self) -> bytes:
        return json.dumps(
            [
                {"path": f"/{self._client.container}/{self._group.segment(number)}", "size_bytes": size, "etag": etag}
                for number, (size, etag) in enumerate(self._segments, 1)
            ]
        ).encode()

    def _check(self, session: Session, reply: Reply) -> None:
        store_id = self._client.store_id
        if reply.status == 201:
            self.answered = True
            return
        self.unanswered += reply.status >= 500
        if reply.status in (409, 412):
            error: StoreError = StoreUnavailable(store_id, f"{self._image}: the commit is in doubt (status {reply.status})")
        elif reply.status == 400:
            error = StoreError(store_id, f"{self._image}: its segments are not in the container as they were written")
        elif reply.status == 404:
            error = StoreError(store_id, f"{self._image}: its segments are gone, or their container")
        else:
            error = self._client.refusal(reply, f"storing {self._image}")
        self._settle(session, error)

    def _settle(self, session: Session, error: StoreError) -> None:
        """The manifest may have been stored all the same, by this try or an earlier one; or another's image."""
        found = self._look(session, error)
        if found is None:
            raise error
        if not is_of(self._client, session, found, self._group):
            raise Duplicate(self._client.store_id, f"{self._image} is there already") from error


def is_marked(found: Reply, group: Group) -> bool:
    return found.headers.get(MARK) == group.nonce


def is_committed(client: SwiftClient, session: Session, group: Group) -> bool:
    """Whether the writer has made the image. Raises Undecided."""
    found = session.head(group.image_id)
    return found is not None and is_of(client, session, found, group)


def is_of(client: SwiftClient, session: Session, found: Reply, group: Group) -> bool:
    """Whether what was found under the image's name is the writer's: it bears its mark, or is made of its segments."""
    if is_marked(found, group):
        return True
    if found.headers.get("x-static-large-object", "").lower() != "true":
        return False
    try:
        names = session.manifest(group.image_id)  # the mark is lost when somebody sets other metadata
    except NotFound as error:
        raise Undecided(
            client.store_id, f"{client.container}/{group.image_id} is gone, or another's: it was just replaced"
        ) from error
    if names is None:
        if MARK not in found.headers:
            raise Undecided(client.store_id, f"can't tell what {client.container}/{group.image_id} is made of")
        return False
    return any(name.startswith(f"{client.container}/{group.prefix}") for name in names)
