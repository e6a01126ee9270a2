"""Reading from the S3 store when connections break, and what is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from faults.loop import run
from faulty_proxy import Answer, CutAnswer, FaultyProxy, Stall
from real_servers import S3Bucket
from s3_subject import HASTY, one_server, store_of
from subject import IMAGE, OTHER, content, read_all, read_some

from glance_stream.errors import NotFound, SourceError, StoreError
from glance_stream.model import Location
from glance_stream.sources.base import Source

DATA = content(3_000_000)


@pytest.fixture
def proxy(s3_bucket: S3Bucket) -> Iterator[FaultyProxy]:
    s3_bucket.write(IMAGE, DATA)
    with FaultyProxy(s3_bucket.server.endpoint) as proxy:
        yield proxy


def source_of(bucket: S3Bucket, proxy: FaultyProxy, **options: object) -> Source:
    async def scenario() -> Source:
        async with store_of(bucket, endpoint=proxy.endpoint, **options) as store:
            return store.open_reader(Location(f"{store.where}/{IMAGE}", "s3"))

    return run(scenario())


def test_a_broken_connection_is_resumed_where_it_broke(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(rf"^GET .*{IMAGE}", CutAnswer(500_000), Answer(503), CutAnswer(1_000_000), CutAnswer(0))
    assert read_all(source_of(s3_bucket, proxy)) == DATA
    assert proxy.seen("^GET") == 5


@one_server
def test_a_truncated_object_is_an_error(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(rf"^GET .*{IMAGE}", *[CutAnswer(500_000)], *[CutAnswer(0)] * 9)
    with pytest.raises(SourceError, match="gave up"):
        read_all(source_of(s3_bucket, proxy))


def test_an_object_that_changed_is_not_joined(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    source = source_of(s3_bucket, proxy)
    try:
        source.open()
        read_some(source, 100_000)
        s3_bucket.write(IMAGE, content(3_000_000, seed=2))
        with pytest.raises(SourceError, match="changed"):
            source.reopen(100_000)
    finally:
        source.close()


@one_server
def test_an_interrupt_ends_a_read_that_hangs(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(rf"^GET .*{IMAGE}", Stall())
    source = source_of(s3_bucket, proxy, limits=replace(HASTY, idle_seconds=900))
    failed: list[Exception] = []

    def read() -> None:
        try:
            source.open()
        except SourceError as error:
            failed.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    proxy.wait_for("^GET")
    source.interrupt()
    source.interrupt()
    reading.join(20)
    assert not reading.is_alive()
    assert failed
    source.close()
    source.close()


@one_server
def test_what_is_interrupted_before_it_is_opened_does_not_open(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    source = source_of(s3_bucket, proxy)
    source.interrupt()
    with pytest.raises(SourceError):
        source.open()
    source.close()


@pytest.mark.parametrize("bucket", [None, "there-is-no-such-bucket"])
def test_of_a_missing_bucket_no_object_is_known_to_be_missing(s3_bucket: S3Bucket, bucket: str | None) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket, bucket=bucket or s3_bucket.name) as store:
            location = Location(f"{store.where}/{OTHER}", "s3")
            with pytest.raises(StoreError) as read:
                read_all(store.open_reader(location))
            with pytest.raises(StoreError) as looked:
                await store.stat(location)
            assert [isinstance(raised.value, NotFound) for raised in (read, looked)] == [bucket is None] * 2

    run(scenario())
