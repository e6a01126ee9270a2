"""The manifest of an image in a Swift container: putting it is the commit.

Swift refuses to replace an object (``If-None-Match: *``) and verifies the segments; radosgw replaces whatever is there, verifies
sizes only and does not give a manifest back. So it is looked before and after, and the manifest bears the writer's mark.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from glance_stream.errors import Duplicate, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.stores.swift_client import PAUSE, TRIES, Session, SwiftClient
from glance_stream.stores.swift_connection import Reply
from glance_stream.stores.swift_names import Group

MARK = "x-object-meta-glance-stream"  # the writer's nonce


def publish(client: SwiftClient, group: Group, segments: Sequence[tuple[int, str]], size: int) -> None:
    """``segments``: size and ETag of each. Raises Duplicate, StoreError."""
    image = f"{client.container}/{group.image_id}"
    with client.session() as session:
        if session.head(group.image_id) is not None:
            raise Duplicate(client.store_id, f"{image} is there already")
        _put(client, session, group, _manifest(client.container, group, segments))
        found = session.head(group.image_id)
        if found is None:
            raise StoreUnavailable(client.store_id, f"{image} was stored, and is not there")
        if not is_manifest_of(client, session, found, group):
            raise Duplicate(client.store_id, f"{image} was stored by another at the same time")
        if found.length != size:
            session.delete(group.image_id)
            raise StoreError(client.store_id, f"{image} was stored with {found.length} bytes, not {size}")


def is_committed(client: SwiftClient, session: Session, group: Group) -> bool:
    """Whether the image is made of these segments. Raises StoreError where that can't be told."""
    found = session.head(group.image_id)
    return found is not None and is_manifest_of(client, session, found, group)


def is_manifest_of(client: SwiftClient, session: Session, found: Reply, group: Group) -> bool:
    if found.headers.get("x-static-large-object", "").lower() != "true":
        return False
    mark = found.headers.get(MARK)
    if mark == group.nonce:
        return True
    names = session.manifest(group.image_id)  # the mark is lost when somebody sets other metadata
    if names is None:
        if mark is None:
            raise StoreError(client.store_id, f"can't tell what {client.container}/{group.image_id} is made of")
        return False
    return any(name.startswith(f"{client.container}/{group.prefix}") for name in names)


def _manifest(container: str, group: Group, segments: Sequence[tuple[int, str]]) -> bytes:
    return json.dumps(
        [
            {"path": f"/{container}/{group.segment(number)}", "size_bytes": size, "etag": etag}
            for number, (size, etag) in enumerate(segments, 1)
        ]
    ).encode()


def _put(client: SwiftClient, session: Session, group: Group, body: bytes) -> None:
    headers = {"If-None-Match": "*", "Content-Type": "application/octet-stream", MARK: group.nonce}
    for tried in range(1, TRIES + 1):
        try:
            reply = session.put_manifest(group.image_id, body, headers)
        except (StoreUnavailable, StoreTimeout):  # it may have been stored all the same
            if is_committed(client, session, group):
                return
            if tried == TRIES:
                raise
        else:
            if reply.status == 201:
                return
            refusal = _refusal(client, session, group, reply)
            if refusal is None:
                return
            if tried == TRIES or not refusal.retryable:
                raise refusal
        time.sleep(PAUSE * 2**tried / 2)


def _refusal(client: SwiftClient, session: Session, group: Group, reply: Reply) -> StoreError | None:
    """None if it is ours that is there: the answer to an earlier try was lost."""
    image = f"{client.container}/{group.image_id}"
    if reply.status in (409, 412):
        if is_committed(client, session, group):
            return None
        return Duplicate(client.store_id, f"{image} is there already")
    if reply.status == 400:
        return StoreError(client.store_id, f"{image}: its segments are not in the container as they were written")
    if reply.status == 404:
        return StoreError(client.store_id, f"{image}: its segments are gone, or their container")
    return client.refusal(reply, f"storing {image}")
