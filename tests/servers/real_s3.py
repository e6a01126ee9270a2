"""A real S3 server as tests see it: what they ask here, boto3 answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from server_daemons import ServerHandle


@functools.cache
def _session() -> Any:
    import boto3

    return boto3.session.Session()  # it reads the service's description: half a second


def _objects(s3: Any, bucket: str) -> dict[str, int]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}


def _uploads(s3: Any, bucket: str) -> list[tuple[str, str]]:
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    return [(each["Key"], each["UploadId"]) for page in pages for each in page.get("Uploads", ())]


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    region: str
    daemons: Mapping[str, ServerHandle]

    @contextmanager
    def client(self, **keywords: Any) -> Iterator[Any]:
        """A boto3 client that tries each request once."""
        from botocore.config import Config

        made = _session().client(
            "s3",
            **{
                "endpoint_url": self.endpoint,
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key,
                "region_name": self.region,
                "config": Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
                **keywords,
            },
        )
        with closing(made):
            yield made

    def make_bucket(self, name: str) -> None:
        with self.client() as s3:
            s3.create_bucket(Bucket=name)

    def objects(self, bucket: str) -> dict[str, int]:
        """Keys and sizes."""
        with self.client() as s3:
            return _objects(s3, bucket)

    def read(self, bucket: str, key: str) -> bytes:
        with self.client() as s3, closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            return bytes(body.read())

    def write(self, bucket: str, key: str, content: bytes) -> None:
        with self.client() as s3:
            s3.put_object(Bucket=bucket, Key=key, Body=content)

    def delete(self, bucket: str, key: str) -> None:
        with self.client() as s3:
            s3.delete_object(Bucket=bucket, Key=key)

    def uploads(self, bucket: str) -> list[tuple[str, str]]:
        """Key and id of each multipart upload that was neither completed nor aborted."""
        with self.client() as s3:
            return _uploads(s3, bucket)

    def empty_bucket(self, name: str) -> None:
        with self.client() as s3:
            for key, upload in _uploads(s3, name):
                with suppress(s3.exceptions.NoSuchUpload):  # a gateway whose osd was away may end now what it was asked for then
                    s3.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
            for key in _objects(s3, name):
                s3.delete_object(Bucket=name, Key=key)

    def delete_bucket(self, name: str) -> None:
        with self.client() as s3:
            s3.delete_bucket(Bucket=name)


@dataclass(frozen=True)
class S3Bucket:
    """A test's own bucket."""

    server: S3Server
    name: str

    def objects(self) -> dict[str, int]:
        return self.server.objects(self.name)

    def uploads(self) -> list[tuple[str, str]]:
        return self.server.uploads(self.name)

    def read(self, key: str) -> bytes:
        return self.server.read(self.name, key)

    def write(self, key: str, content: bytes) -> None:
        self.server.write(self.name, key, content)

    def delete(self, key: str) -> None:
        self.server.delete(self.name, key)
