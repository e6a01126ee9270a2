"""The S3 store on real servers: the suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from faults.loop import run
from real_servers import S3Bucket
from s3_subject import LARGE, one_server, options_of
from subject import IMAGE, Subject, content, write_all

from glance_stream.errors import StoreError
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


class TestS3Store(StoreConformance):
    @pytest.fixture
    def subject(self, s3_bucket: S3Bucket) -> Iterator[Subject]:
        store = store_in(s3_bucket)
        yield subject_of(store, s3_bucket)
        run(store.close())

    @pytest.mark.parametrize("flushed", [False, True])
    def test_discard_cleans_up_after_a_crash(self, subject: Subject, flushed: bool) -> None:
        """Of an image that is more than one part: a smaller one is in the bucket only once it is committed."""

        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, None)
            write_all(writer, content(subject.large))
            if flushed:
                await writer.flush(subject.large)
            assert subject.leavings() != []
            await subject.store.discard(writer.trace)
            await subject.store.discard(writer.trace)
            subject.assert_holds()
            await writer.abort()

        run(scenario())
        subject.assert_holds()

    def test_a_writer_whose_traces_are_gone_does_not_commit(self, subject: Subject) -> None:
        """As above."""

        async def scenario() -> None:
            writer = await subject.store.open_writer(IMAGE, subject.large)
            write_all(writer, content(subject.large))
            await writer.flush(subject.large)
            await subject.store.discard(writer.trace)
            with pytest.raises(StoreError, match="discarded"):
                await writer.commit(subject.large, {})
            await writer.abort()

        run(scenario())
        subject.assert_holds()


@one_server
class TestReadOnlyS3Store(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, s3_bucket: S3Bucket) -> Iterator[Subject]:
        store = store_in(s3_bucket, read_only=True)
        subject = subject_of(store, s3_bucket)
        s3_bucket.write(IMAGE, content(5000))
        subject.stored = (Location(f"{store.where}/{IMAGE}", "s3"), content(5000))
        yield subject
        run(store.close())
