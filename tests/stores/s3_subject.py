"""S3 stores over a test's bucket, as the tests of this store build them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from real_servers import S3Bucket
from subject import write_all

from glance_stream.config import ByteSize
from glance_stream.model import Location
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores.s3 import S3Options, S3Store

# For what does not depend on the server.
one_server = pytest.mark.parametrize("s3_server", ["radosgw"], indirect=True)
MIB = 1 << 20
LARGE = 11 * MIB  # three parts, the last one small
HASTY = HttpLimits(connect_seconds=5, idle_seconds=20, tries=3, backoff_seconds=0.01, redirects=0)


def options_of(bucket: S3Bucket, /, **options: Any) -> S3Options:
    server = bucket.server
    given = {
        "bucket": bucket.name,
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "addressing_style": "path",
        "part_size": ByteSize(5 * MIB),
    }
    return S3Options(**{**given, **options})


@asynccontextmanager
async def store_of(
    bucket: S3Bucket, /, *, limits: HttpLimits = HASTY, read_only: bool = False, **options: Any
) -> AsyncIterator[S3Store]:
    """A store that is impatient, and closed in the end."""
    given = options_of(bucket, **options)
    store = S3Store(
        "s3",
        replace(given.settings(), limits=limits),
        read_only=read_only,
        create_bucket=given.create_bucket,
        part_size=given.part_size,
        parts_in_flight=given.parts_in_flight,
        checksum=given.checksum,
    )
    try:
        yield store
    finally:
        await store.close()


async def write(store: S3Store, image_id: str, data: bytes, *, size_hint: int | None = None) -> Location:
    """As a transfer does: bytes on a thread, an abort after what fails."""
    writer = await store.open_writer(image_id, size_hint)
    try:
        await asyncio.to_thread(write_all, writer, data)
        await writer.flush(len(data))
        return await writer.commit(len(data), {})
    except BaseException:
        await writer.abort()
        raise


def assert_empty(bucket: S3Bucket) -> None:
    """As the server's own client sees it."""
    assert bucket.objects() == {}
    assert bucket.uploads() == []


def assert_only(bucket: S3Bucket, key: str, data: bytes) -> None:
    assert bucket.objects() == {key: len(data)}
    assert bucket.uploads() == []
    assert bucket.read(key) == data
