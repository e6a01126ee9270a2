"""What things are called in a Swift container: images, the segments that they are made of, locations, traces.

An image is an object named by its id, as glance_store has it. Its segments lie below ``glance_stream_segments/``: a slash is in
no image id, so that a segment never passes for an image; and glance_store's own large images take in whatever begins with
``<image id>-``, which no name of ours does.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from glance_stream.errors import InvalidRequest
from glance_stream.sources.http_address import parse
from glance_stream.stores.base import SAFE_NAME

SEGMENTS = "glance_stream_segments/"
_SEGMENT = re.compile(rf"{SEGMENTS}(?P<image_id>{SAFE_NAME.pattern})/(?P<nonce>[0-9a-f]{{16}})/(?P<number>[0-9]{{5}})")
_GROUP = re.compile(rf"{SEGMENTS}(?P<image_id>{SAFE_NAME.pattern})/(?P<nonce>[0-9a-f]{{16}})/")
_SCHEMES = {"swift": "https", "swift+https": "https", "swift+http": "http"}  # by which glance_store means the auth URL's


def new_nonce() -> str:
    """Seconds since 1970 and 32 random bits: a trace tells when its writer was made."""
    return f"{int(time.time()):08x}{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Group:
    """The segments of one writer."""

    image_id: str
    nonce: str

    @property
    def since(self) -> int:
        """When the writer was made."""
        return int(self.nonce[:8], 16)

    @property
    def prefix(self) -> str:
        return f"{SEGMENTS}{self.image_id}/{self.nonce}/"

    def segment(self, number: int) -> str:
        """Numbers begin with 1."""
        return f"{self.prefix}{number:05d}"


def segment_of(name: str) -> tuple[Group, int] | None:
    """Whose segment an object of this name is, and its number; None if it is none of ours."""
    found = _SEGMENT.fullmatch(name)
    return (Group(found["image_id"], found["nonce"]), int(found["number"])) if found else None


@dataclass(frozen=True)
class Names:
    """Of one container. ``auth_url`` and ``user``: what locations with credentials in them begin with.

    ``user`` is None for an application credential, which glance_store writes into no location.
    """

    reference: str
    container: str
    auth_url: str
    user: str | None

    @property
    def where(self) -> str:
        return f"swift+config://{self.reference}/{self.container}"

    def location(self, image_id: str) -> str:
        return f"{self.where}/{image_id}"

    def trace(self, group: Group) -> str:
        return f"{self.where}/{group.prefix}"

    def group_of(self, trace: str) -> Group | None:
        """None for what is no trace of this container."""
        start = f"{self.where}/"
        found = _GROUP.fullmatch(trace.removeprefix(start)) if trace.startswith(start) else None
        return Group(found["image_id"], found["nonce"]) if found else None

    def image_of(self, url: str) -> str | None:
        """The image id in a location; None if it does not point into this container.

        Taken are ours and those of glance_store without a configuration file, ``swift+https://user:key@auth/container/id``,
        whatever the key: it may have been changed since, and is not used.
        """
        start, _, image_id = url.rpartition("/")
        if not SAFE_NAME.fullmatch(image_id):
            return None
        return image_id if start == self.where or self._is_older(start) else None

    def _is_older(self, start: str) -> bool:
        auth, _, container = start.rpartition("/")
        try:
            parts = urlsplit(auth)
            user = unquote(f"{parts.username or ''}:{parts.password or ''}").rpartition(":")[0]
            scheme = _SCHEMES.get(parts.scheme)
            if scheme is None or container != self.container or user != (self.user or ""):
                return False
            host = parts.netloc.rpartition("@")[2]
            return parse(f"{scheme}://{host}{parts.path.rstrip('/')}/") == parse(f"{self.auth_url.rstrip('/')}/")
        except (ValueError, InvalidRequest):
            return False


def numbered(group: Group, count: int) -> Iterator[str]:
    """The names of the first ``count`` segments, the last one first: what is left after a break is always the first few."""
    return (group.segment(number) for number in range(count, 0, -1))
