"""Our S3 store and glance_store's in one bucket, on radosgw and on Swift's S3 API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from both_ways import BothWays, EachServesTheOthers, System, glance_stores
from faults.loop import run
from real_servers import S3Bucket
from s3_subject import options_of

from glance_stream.stores.s3 import S3Store


def everything(bucket: S3Bucket) -> list[str]:
    return [*bucket.objects(), *(f"upload of {key}" for key, _ in bucket.uploads())]


@contextmanager
def system_in(bucket: S3Bucket) -> Iterator[System]:
    server = bucket.server
    ours = S3Store.from_options("ours", options_of(bucket))
    adapter = glance_stores(
        "s3",
        s3_store_host=server.endpoint,
        s3_store_region_name=server.region,
        s3_store_access_key=server.access_key,
        s3_store_secret_key=server.secret_key,
        s3_store_bucket=bucket.name,
        s3_store_bucket_url_format="path",
        s3_store_large_object_size=1,
        s3_store_large_object_chunk_size=5,
    )
    yield System(ours, adapter, lambda: everything(bucket))
    run(ours.close())
    run(adapter.close())


class TestS3(BothWays):
    @pytest.fixture
    def system(self, radosgw_bucket: S3Bucket) -> Iterator[System]:
        with system_in(radosgw_bucket) as system:
            yield system


class TestS3OfSwift(EachServesTheOthers):
    @pytest.fixture
    def system(self, swift_s3_bucket: S3Bucket) -> Iterator[System]:
        with system_in(swift_s3_bucket) as system:
            yield system
