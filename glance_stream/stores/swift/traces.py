"""Segments of ours that no image is made of: finding them and removing them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from glance_stream.errors import StoreError
from glance_stream.stores.base import Stray
from glance_stream.stores.swift.client import Session, SwiftClient
from glance_stream.stores.swift.commit import Undecided, is_committed, is_of
from glance_stream.stores.swift.connection import Reply
from glance_stream.stores.swift.names import SEGMENTS, Group, Names, numbered, segment_of

LOG = logging.getLogger(__name__)

LOOK_EVERY = 20  # segments that are removed between two looks for an image made of them

# A whole image is sent within this time from the making of its writer, in seconds. From `SETTLED` on none can come any more: in
# between lie 5 minutes of repetitions, 15 for two clocks that differ, and 15 for the cluster, which gives up far sooner.
PUT_WITHIN = 1500
SETTLED = 3600


def discard(client: SwiftClient, group: Group, begun: int | None = None) -> None:
    """Remove the writer's segments unless an image is made of them. ``begun``: how many there may be; None if it is not known.

    A listing may lag behind: it only says how far to look. Segments are numbered without gaps, and removed from the last one on.
    One more is removed than were found: a segment that is being stored at this moment must lose against its later deletion.

    A commit may be under way in another process. An image that appears before the first segment is removed stays; one that appears
    later has lost segments, was never whole, and is removed too.
    """
    with client.session() as session:
        if is_committed(client, session, group):
            return
        if begun is None:
            begun = max((found[1] for _, each in session.list(group.prefix) if (found := segment_of(each["name"]))), default=0)
            while session.head(group.segment(begun + 1)) is not None:
                begun += 1
            begun += 1
        removed = 0
        for count, name in enumerate(numbered(group, begun)):
            if count % LOOK_EVERY == 0 and is_committed(client, session, group):
                if not removed:
                    return
                _remove_broken(client, session, group)
            removed += session.delete(name)
        if removed and is_committed(client, session, group):
            _remove_broken(client, session, group)


def _remove_broken(client: SwiftClient, session: Session, group: Group) -> None:
    LOG.warning("%s/%s was committed while its segments were discarded: it is removed", client.container, group.image_id)
    session.delete(group.image_id)


def has_published(client: SwiftClient, group: Group) -> bool:
    """Whether the image is this writer's. Raises StoreError where it can't be told now."""
    with client.session() as session:
        if is_there(client, session, group):
            return True
        if any(session.list(group.prefix)) or session.head(group.segment(1)) is not None:
            raise StoreError(client.store_id, f"segments of {group.image_id} are still there: its manifest may come until they go")
    require_settled(client, group)
    return False


def is_there(client: SwiftClient, session: Session, group: Group) -> bool:
    """Whether the image is made by this writer. Raises StoreError, also if there is no container."""
    found = session.head(group.image_id)
    if found is None:
        session.require_container()
    return found is not None and is_of(client, session, found, group)


def require_settled(client: SwiftClient, group: Group) -> None:
    """Raises StoreError as long as the PUT of a whole image by this writer may still take effect."""
    left = group.since + SETTLED - time.time()
    if left > 0:
        minutes = f"{-(-left // 60):.0f} minutes"
        raise StoreError(client.store_id, f"{group.image_id} may still come of a request without an answer, for {minutes}")


@dataclass
class _Found:
    size: int
    changed: datetime
    asked: datetime


def strays(client: SwiftClient, names: Names) -> list[Stray]:
    """Ages by the cluster's own clock."""
    with client.session() as session:
        groups = _groups(session.list(SEGMENTS))
        return [
            Stray(names.trace(group), group.image_id, max(0.0, (found.asked - found.changed).total_seconds()), found.size)
            for group, found in groups.items()
            if _is_stray(client, session, group)
        ]


def _is_stray(client: SwiftClient, session: Session, group: Group) -> bool:
    try:
        return not is_committed(client, session, group)
    except Undecided:
        return False


def _groups(listed: Iterable[tuple[Reply, dict[str, Any]]]) -> dict[Group, _Found]:
    groups: dict[Group, _Found] = {}
    for reply, each in listed:
        segment = segment_of(each["name"])
        if segment is not None:
            changed = datetime.fromisoformat(each["last_modified"])
            changed = changed if changed.tzinfo else changed.replace(tzinfo=UTC)
            found = groups.setdefault(segment[0], _Found(0, changed, _now(reply)))
            found.size += each["bytes"]
            found.changed = max(found.changed, changed)
    return groups


def _now(reply: Reply) -> datetime:
    try:
        return parsedate_to_datetime(reply.headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
