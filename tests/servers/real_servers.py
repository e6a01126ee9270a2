"""The real servers as tests see them. Whatever a test asks here, the server's own client answers, not the code under test."""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_daemons import ServerHandle


@functools.cache
def _session() -> Any:
    import boto3

    return boto3.session.Session()  # it reads the service's description: half a second


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
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}

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
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
            return [(each["Key"], each["UploadId"]) for page in pages for each in page.get("Uploads", ())]

    def empty_bucket(self, name: str) -> None:
        with self.client() as s3:
            for key, upload in self.uploads(name):
                s3.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
            for key in self.objects(name):
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


@dataclass(frozen=True)
class SwiftServer:
    auth_url: str
    user: str
    key: str
    auth_version: str
    daemons: Mapping[str, ServerHandle]
    # Keystone's only.
    project: str | None = None
    user_domain: str | None = None
    project_domain: str | None = None
    region: str | None = None
    memcached: int | None = None

    @contextmanager
    def connection(self, **keywords: Any) -> Iterator[Any]:
        """A python-swiftclient connection that tries each request once."""
        from swiftclient import Connection

        options = {
            "project_name": self.project,
            "user_domain_name": self.user_domain,
            "project_domain_name": self.project_domain,
            "region_name": self.region,
        }
        made = Connection(
            **{
                "authurl": self.auth_url,
                "user": self.user,
                "key": self.key,
                "auth_version": self.auth_version,
                "os_options": {name: value for name, value in options.items() if value is not None},
                "retries": 0,
                **keywords,
            }
        )
        with closing(made):
            yield made

    def make_container(self, name: str, headers: Mapping[str, str] | None = None) -> None:
        with self.connection() as swift:
            swift.put_container(name, headers=dict(headers or {}))

    def containers(self, prefix: str = "") -> list[str]:
        with self.connection() as swift:
            return [each["name"] for each in swift.get_account(prefix=prefix, full_listing=True)[1]]

    def objects(self, container: str) -> dict[str, int]:
        """Names and sizes."""
        with self.connection() as swift:
            return {each["name"]: each["bytes"] for each in swift.get_container(container, full_listing=True)[1]}

    def read(self, container: str, name: str) -> bytes:
        with self.connection() as swift:
            return bytes(swift.get_object(container, name)[1])

    def headers(self, container: str, name: str) -> dict[str, str]:
        with self.connection() as swift:
            return dict(swift.head_object(container, name))

    def write(self, container: str, name: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        with self.connection() as swift:
            swift.put_object(container, name, content, headers=dict(headers or {}))

    def delete(self, container: str, name: str) -> None:
        with self.connection() as swift:
            swift.delete_object(container, name)

    def empty_container(self, name: str) -> None:
        from swiftclient import ClientException

        with self.connection() as swift:
            for each in self.objects(name):
                try:
                    swift.delete_object(name, each)
                except ClientException as refused:
                    if refused.http_status != 404:  # deleted before this container heard of it
                        raise

    def delete_container(self, name: str) -> None:
        with self.connection() as swift:
            swift.delete_container(name)

    def expire_tokens(self) -> None:
        """Forget every token that was given: the next request with one is answered with 401. Swift with tempauth only."""
        assert self.memcached is not None
        with socket.create_connection(("127.0.0.1", self.memcached), timeout=5) as peer:
            peer.sendall(b"flush_all\r\n")
            assert peer.recv(16) == b"OK\r\n"


@dataclass(frozen=True)
class SwiftContainer:
    """A test's own container; those whose names begin with this one's name (segments) are the test's too."""

    server: SwiftServer
    name: str

    def objects(self) -> dict[str, int]:
        return self.server.objects(self.name)

    def read(self, name: str) -> bytes:
        return self.server.read(self.name, name)

    def headers(self, name: str) -> dict[str, str]:
        return self.server.headers(self.name, name)

    def write(self, name: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.server.write(self.name, name, content, headers)

    def delete(self, name: str) -> None:
        self.server.delete(self.name, name)


@dataclass(frozen=True)
class CephCluster:
    conf: Path
    fsid: str
    mon_host: str
    pool: str
    user: str
    key: str
    keyring: Path
    reader_keyring: Path
    objectstore: str
    daemons: Mapping[str, ServerHandle]

    def ceph(self, *arguments: str) -> str:
        return self._run("ceph", "--connect-timeout", "20", *arguments)

    def rbd(self, *arguments: str) -> str:
        return self._run("rbd", *arguments)

    def rados(self, *arguments: str) -> str:
        return self._run("rados", *arguments)

    def _run(self, program: str, *arguments: str, seconds: float = 60) -> str:
        """As client.admin, by the cluster's own program."""
        done = subprocess.run(
            [program, "-c", self.conf, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def images(self, pool: str) -> list[str]:
        return list(json.loads(self.rbd("ls", "--format", "json", pool)))

    def snapshots(self, pool: str, image: str) -> list[dict[str, Any]]:
        """Of each: name, size, protected ("true" or "false")."""
        return list(json.loads(self.rbd("snap", "ls", "--format", "json", f"{pool}/{image}")))

    def info(self, pool: str, image: str) -> dict[str, Any]:
        return dict(json.loads(self.rbd("info", "--format", "json", f"{pool}/{image}")))

    def read(self, pool: str, image: str) -> bytes:
        done = subprocess.run(
            ["rbd", "-c", self.conf, "export", "--no-progress", f"{pool}/{image}", "-"],
            stdout=subprocess.PIPE,
            timeout=100,
            check=True,
        )
        return done.stdout

    def used(self, pool: str, image: str) -> int:
        """Bytes of the image's extents that exist."""
        return sum(each["length"] for each in json.loads(self.rbd("diff", "--format", "json", f"{pool}/{image}")))

    def make_pool(self, name: str) -> None:
        self.ceph("osd", "pool", "create", name, "8")
        self.rbd("pool", "init", name)

    def delete_pool(self, name: str) -> None:
        self.ceph("osd", "pool", "delete", name, name, "--yes-i-really-really-mean-it")

    def set_quota(self, pool: str, max_bytes: int) -> None:
        """Some seconds after a pool got over its quota, writes to it wait: for ever, or until the client's rados_osd_op_timeout.

        0 takes the quota back. The cluster's manager counts, and only for this: it is started here, which takes a few seconds.
        """
        if max_bytes and not (self.daemons["mgr"].pidfile.exists() and self.daemons["mgr"].alive()):
            self.daemons["mgr"].restart()
        self.ceph("osd", "pool", "set-quota", pool, "max_bytes", str(max_bytes))

    def wait_full(self, pool: str, full: bool = True, seconds: float = 30) -> None:
        """Until the pool is (not) marked full."""
        deadline = time.monotonic() + seconds
        while True:
            pools = json.loads(self.ceph("osd", "dump", "--format", "json"))["pools"]
            flags = next(each["flags_names"] for each in pools if each["pool_name"] == pool)
            if ("full_quota" in flags.split(",")) == full:
                return
            assert time.monotonic() < deadline, f"pool {pool} is still{' not' if full else ''} full: {flags}"
            time.sleep(0.2)


@dataclass(frozen=True)
class RbdPool:
    """A test's own pool."""

    cluster: CephCluster
    name: str

    def images(self) -> list[str]:
        return self.cluster.images(self.name)

    def snapshots(self, image: str) -> list[dict[str, Any]]:
        return self.cluster.snapshots(self.name, image)

    def read(self, image: str) -> bytes:
        return self.cluster.read(self.name, image)
