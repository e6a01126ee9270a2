"""How large the segments of an image are, within what the cluster allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glance_stream.stores.swift.options import MAX_OBJECT_SIZE

MAX_SEGMENTS = 1000  # Swift's and radosgw's own limits, where the cluster does not tell
MAX_MANIFEST_SIZE = 8 << 20
STEPS = 10
WHOLE = 8 << 20  # bytes of an image that is kept until its commit, and is one plain object then


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes."""

    max_object_size: int = MAX_OBJECT_SIZE
    max_segments: int = MAX_SEGMENTS
    max_manifest_size: int = MAX_MANIFEST_SIZE


def limits_of(info: Mapping[str, Any]) -> Limits | None:
    """What a cluster's /info tells; None if it has no static large objects."""
    if not info:
        return Limits()
    slo = info.get("slo")
    if slo is None:
        return None
    return Limits(
        min(MAX_OBJECT_SIZE, _number(info.get("swift", {}), "max_file_size", MAX_OBJECT_SIZE)),
        _number(slo, "max_manifest_segments", MAX_SEGMENTS),
        _number(slo, "max_manifest_size", MAX_MANIFEST_SIZE),
    )


def _number(told: Any, name: str, otherwise: int) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and value > 0 else otherwise


@dataclass(frozen=True)
class Plan:
    """Segments of ``first`` bytes, doubled after each tenth of the number allowed: an image of unknown size may become large.

    200 MiB at first, at most 1000 segments of at most 5 GiB: up to 3 TB. ``room``: bytes left for the image; None if not known.
    """

    first: int
    limits: Limits
    room: int | None = None

    @classmethod
    def of(cls, segment_size: int, size_hint: int | None, limits: Limits, room: int | None = None) -> Plan:
        needed = 0 if size_hint is None else -(-size_hint // limits.max_segments)
        return cls(min(max(segment_size, needed), limits.max_object_size), limits, room)

    def is_whole(self, size: int) -> bool:
        """Whether an image of so many bytes is one plain object, and no segment of anything."""
        return size <= min(WHOLE, self.first)

    def has_room(self, size: int) -> bool:
        return self.room is None or size <= self.room

    def size(self, number: int) -> int:
        """Of the segment with this number, beginning with 1; 0 where there can't be one."""
        if number > self.limits.max_segments:
            return 0
        doublings = (number - 1) // max(1, self.limits.max_segments // STEPS)
        return min(self.first << min(doublings, STEPS), self.limits.max_object_size)
