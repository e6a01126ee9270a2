"""How an S3 object is named in a location and in a trace. Nothing here does I/O.

A location is what glance_store's S3 driver writes since 5.7: ``s3://host/bucket/key``, ``s3+https://`` where the endpoint has TLS.
Up to 5.4 it wrote the keys into it, ``s3://ACCESS:SECRET@host/bucket/key``: such a location is understood and never repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from glance_stream.stores.base import SAFE_NAME

SCHEMES = ("s3", "s3+http", "s3+https")
_TRACE = re.compile(r"(?P<url>[^?#]+)\?(?:writer=(?P<writer>[0-9a-f]{16})&since=(?P<since>[0-9]{1,12})|upload=(?P<upload>[^&#]+))")


@dataclass(frozen=True)
class Trace:
    """A writer's, with when it was made (seconds since 1970, this host's clock); or that of one multipart upload."""

    key: str
    writer: str | None = None
    since: int = 0
    upload_id: str | None = None


@dataclass(frozen=True)
class Place:
    """A bucket as locations name it. ``host``: of the endpoint, with its port and path if it has any."""

    scheme: str
    host: str
    bucket: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}/{self.bucket}"

    def location(self, key: str) -> str:
        return f"{self.url}/{key}"

    def writer_trace(self, key: str, writer: str, since: int) -> str:
        return f"{self.location(key)}?writer={writer}&since={since}"

    def upload_trace(self, key: str, upload_id: str) -> str:
        return f"{self.location(key)}?upload={quote(upload_id, safe='')}"

    def key_of(self, url: str) -> str | None:
        """The key that a location names in this bucket, None for any other: compared by whole components (bug 1886374)."""
        scheme, mark, rest = url.partition("://")
        if scheme not in SCHEMES or not mark:
            return None
        host, *path = rest.rpartition("@")[2].split("/")  # a secret key may hold a slash, none holds an @
        expected_host, *expected_path = f"{self.host}/{self.bucket}".split("/")
        same = host.lower() == expected_host.lower() and path[:-1] == expected_path
        return path[-1] if same and SAFE_NAME.fullmatch(path[-1]) else None

    def parse_trace(self, trace: str) -> Trace | None:
        """None for what is no trace in this bucket."""
        found = _TRACE.fullmatch(trace)
        key = self.key_of(found["url"]) if found else None
        if found is None or key is None:
            return None
        if found["upload"] is not None:
            return Trace(key, upload_id=unquote(found["upload"]))
        return Trace(key, writer=found["writer"], since=int(found["since"]))
