"""The stores as their own clients see them: everything that is there, under any name, and the bytes of an image.

What belongs to no image is told by name: temporary files, uploads, segments of nobody, foreign names.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

SEGMENT_SIZE = 2 << 20
PART_SIZE = 5 << 20


class Place(ABC):
    """One store. ``options``: as they stand in the configuration."""

    store_id: str
    type: str
    options: Mapping[str, Any]

    @abstractmethod
    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        """The sizes of those of these images that are there, and the names of all that belongs to none of them."""

    @abstractmethod
    def read(self, image_id: str) -> bytes: ...

    def sha512(self, image_id: str) -> str:
        return hashlib.sha512(self.read(image_id)).hexdigest()

    def evict(self) -> None:
        """Cut off what the cluster still takes for clients of ours, once their process is dead."""

    def close(self) -> None:
        """Remove the place with all that is in it."""

    def section(self) -> str:
        lines = [f"{name} = {_toml(value)}" for name, value in self.options.items()]
        return "\n".join([f"[stores.{self.store_id}]", f'type = "{self.type}"', *lines, ""])


class FilePlace(Place):
    type = "file"

    def __init__(self, store_id: str, path: Path) -> None:
        self.store_id = store_id
        self._path = path
        self.options = {"path": str(path)}

    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        if not self._path.exists():
            return {}, []
        with os.scandir(self._path) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries}
        return found, sorted(set(found) - set(images))

    def read(self, image_id: str) -> bytes:
        return (self._path / image_id).read_bytes()

    def close(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class S3Place(Place):
    type = "s3"

    def __init__(self, store_id: str, server: Any) -> None:
        self.store_id = store_id
        self._bucket = f"crash-{secrets.token_hex(6)}"
        self._server = server
        self._scope = server.client()
        self._s3 = self._scope.__enter__()
        self._s3.create_bucket(Bucket=self._bucket)
        self.options = {
            "endpoint": server.endpoint,
            "region": server.region,
            "bucket": self._bucket,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "addressing_style": "path",
            "part_size": PART_SIZE,
        }

    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        found = {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket)
        uploads = [f"upload of {each['Key']}" for page in pages for each in page.get("Uploads", ())]
        return found, [*sorted(set(found) - set(images)), *uploads]

    def read(self, image_id: str) -> bytes:
        with closing(self._s3.get_object(Bucket=self._bucket, Key=image_id)["Body"]) as body:
            return bytes(body.read())

    def close(self) -> None:
        self._server.empty_bucket(self._bucket)
        self._server.delete_bucket(self._bucket)
        self._scope.__exit__(None, None, None)


class SwiftPlace(Place):
    """In segments of 2 MiB. A segment is an image's if its manifest names it."""

    type = "swift"

    def __init__(self, store_id: str, server: Any) -> None:
        self.store_id = store_id
        self._container = f"crash-{secrets.token_hex(6)}"
        self._server = server
        self._scope = server.connection(retries=2)
        self._swift = self._scope.__enter__()
        self._swift.put_container(self._container)
        self.options = {
            "auth_url": server.auth_url,
            "auth_version": server.auth_version,
            "user": server.user,
            "key": server.key,
            "container": self._container,
            "segment_size": SEGMENT_SIZE,
        }

    def look(self, images: Collection[str]) -> tuple[dict[str, int], list[str]]:
        """A manifest is listed with its own size: the image's is what a HEAD says."""
        names = {each["name"] for each in self._swift.get_container(self._container, full_listing=True)[1]}
        known, sizes = set(images), {}
        for image_id in known & names:
            headers = self._swift.head_object(self._container, image_id)
            sizes[image_id] = int(headers["content-length"])
            if headers.get("x-static-large-object", "").lower() == "true":
                known |= self._segments(image_id)
        return sizes, sorted(names - known)

    def _segments(self, image_id: str) -> set[str]:
        manifest = self._swift.get_object(self._container, image_id, query_string="multipart-manifest=get")[1]
        return {each["name"].removeprefix(f"/{self._container}/") for each in json.loads(manifest)}

    def read(self, image_id: str) -> bytes:
        return bytes(self._swift.get_object(self._container, image_id)[1])

    def close(self) -> None:
        self._server.empty_container(self._container)
        self._server.delete_container(self._container)
        self._scope.__exit__(None, None, None)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'
