"""Our S3 store and glance_store's in one bucket, on radosgw and on Swift's S3 API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from both_ways import BothWays, System, glance_stores
from faults.loop import run
from real_servers import S3Bucket

from glance_stream.stores.s3 import S3Options, S3Store


def everything(bucket: S3Bucket) -> list[str]:
    return [*bucket.objects(), *(f"upload of {key}" for key, _ in bucket.uploads())]


class TestS3(BothWays):
    @pytest.fixture(params=["radosgw_bucket", "swift_s3_bucket"])
    def system(self, request: pytest.FixtureRequest) -> Iterator[System]:
        bucket: S3Bucket = request.getfixturevalue(request.param)
        server = bucket.server
        ours = S3Store.from_options(
            "ours",
            S3Options(
                bucket=bucket.name,
                endpoint=server.endpoint,
                region=server.region,
                access_key=server.access_key,
                secret_key=server.secret_key,
                addressing_style="path",
                part_size="5 MiB",
            ),
        )
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
