"""A Swift store on a test's own container, and what python-swiftclient sees there."""

from __future__ import annotations

from typing import Any

from real_servers import SwiftContainer
from subject import Subject

from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.stores.swift import SwiftOptions, SwiftStore
from glance_stream.stores.swift.names import SEGMENTS

SEGMENT_SIZE = 40 << 10


def options_of(container: SwiftContainer, **more: Any) -> SwiftOptions:
    server = container.server
    return SwiftOptions(
        **{
            "auth_url": server.auth_url,
            "auth_version": server.auth_version,
            "user": server.user,
            "key": server.key,
            "project": server.project,
            "user_domain": server.user_domain,
            "project_domain": server.project_domain,
            "region": server.region,
            "container": container.name,
            "segment_size": SEGMENT_SIZE,
            "connect_timeout": 5,
            "read_timeout": 10,
            **more,
        }
    )


def store_on(container: SwiftContainer, *, read_only: bool = False, policy: RetryPolicy | None = None, **more: Any) -> SwiftStore:
    return SwiftStore("swift1", options_of(container, **more), read_only=read_only, policy=policy)


def subject_on(container: SwiftContainer, store: SwiftStore | None = None) -> Subject:
    """An image's own segments are no leavings; any other object is."""

    def images() -> set[str]:
        return {name for name in container.objects() if not name.startswith(SEGMENTS)}

    def leavings() -> list[str]:
        found = container.objects()
        return [name for name in found if name.startswith(SEGMENTS) and name.split("/")[1] not in found]

    def corrupt(location: Location) -> None:
        image_id = location.url.rpartition("/")[2]
        size = int(container.headers(image_id)["content-length"])
        container.write(image_id, bytes(size))

    return Subject(store or store_on(container), images, leavings, corrupt, large=3 * SEGMENT_SIZE)


def segments(container: SwiftContainer, image_id: str) -> list[str]:
    return sorted(name for name in container.objects() if name.startswith(f"{SEGMENTS}{image_id}/"))
