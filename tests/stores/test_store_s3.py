"""The S3 store on real servers: the suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from conformance_resume import ResumeConformance
from faults.loop import run
from real_servers import S3Bucket, S3Server
from s3_subject import LARGE, options_of
from server_fixtures import own_bucket
from subject import IMAGE, Subject, content

from glance_stream.model import Location
from glance_stream.stores.s3 import S3Store


def store_in(bucket: S3Bucket, *, read_only: bool = False) -> S3Store:
    return S3Store.from_options("s3", options_of(bucket), read_only=read_only)


def subject_of(store: S3Store, bucket: S3Bucket) -> Subject:
    def corrupt(location: Location) -> None:
        key = location.url.rpartition("/")[2]
        bucket.write(key, bytes(bucket.objects()[key]))

    return Subject(
        store,
        lambda: set(bucket.objects()),
        lambda: [upload_id for _, upload_id in bucket.uploads()],
        corrupt,
        large=LARGE,
    )


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[S3Bucket]:
    """One bucket for all tests on a server: making and deleting them would take longer than the tests."""
    server: S3Server = request.getfixturevalue(request.param)
    with own_bucket(server) as bucket:
        yield bucket


@pytest.fixture
def empty(shared: S3Bucket) -> Iterator[S3Bucket]:
    yield shared
    shared.server.empty_bucket(shared.name)


@pytest.mark.parametrize("shared", ["radosgw", "swift_s3"], indirect=True)
class TestS3Store(ResumeConformance, StoreConformance):
    @pytest.fixture
    def subject(self, empty: S3Bucket) -> Iterator[Subject]:
        store = store_in(empty)
        yield subject_of(store, empty)
        run(store.close())


@pytest.mark.parametrize("shared", ["radosgw"], indirect=True)
class TestReadOnlyS3Store(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, empty: S3Bucket) -> Iterator[Subject]:
        store = store_in(empty, read_only=True)
        subject = subject_of(store, empty)
        empty.write(IMAGE, content(5000))
        subject.stored = (Location(f"{store.where}/{IMAGE}", "s3"), content(5000))
        yield subject
        run(store.close())
