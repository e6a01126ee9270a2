"""Segments of ours that no image is made of: finding them and removing them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from glance_stream.stores.base import Stray
from glance_stream.stores.swift.client import Session, SwiftClient
from glance_stream.stores.swift.commit import Undecided, is_committed
from glance_stream.stores.swift.connection import Reply
from glance_stream.stores.swift.names import SEGMENTS, Group, Names, numbered, segment_of


def discard(client: SwiftClient, group: Group, begun: int | None = None) -> None:
    """Remove the writer's segments unless an image is made of them. ``begun``: how many there may be; None if it is not known.

    A listing may lag behind: it only says how far to look. Segments are numbered without gaps, and removed from the last one on.
    One more is removed than were found: a segment that is being stored at this moment must lose against its later deletion.
    """
    with client.session() as session:
        if is_committed(client, session, group):
            return
        if begun is None:
            begun = max((found[1] for _, each in session.list(group.prefix) if (found := segment_of(each["name"]))), default=0)
            while session.head(group.segment(begun + 1)) is not None:
                begun += 1
            begun += 1
        for name in numbered(group, begun):
            session.delete(name)


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
