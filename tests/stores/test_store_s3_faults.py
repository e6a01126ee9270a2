"""What the S3 store does when the server fails. Afterwards nothing is in the bucket but what was committed."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from faults.loop import run
from faulty_proxy import Answer, Change, CutAnswer, CutRequest, Fault, FaultyProxy, Stall
from real_servers import S3Bucket
from s3_subject import HASTY, LARGE, assert_empty, assert_only, one_server, store_of, write
from subject import IMAGE, content, write_all

from glance_stream.errors import Duplicate, StoreDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable

DATA = content(LARGE)
SMALL = content(70_000)
ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>planned</Message></Error>"


@pytest.fixture
def proxy(s3_bucket: S3Bucket) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_bucket.server.endpoint) as proxy:
        yield proxy


def attempt(bucket: S3Bucket, proxy: FaultyProxy, data: bytes, **options: object) -> None:
    async def scenario() -> None:
        async with store_of(bucket, endpoint=proxy.endpoint, **options) as store:
            await write(store, IMAGE, data)

    run(scenario(), seconds=60)


@one_server
@pytest.mark.parametrize(
    "fault",
    [Answer(503, {"Retry-After": "0"}, ERROR % b"SlowDown"), Answer(500), CutRequest(100_000), CutAnswer(0), CutAnswer(9)],
    ids=["slow down", "status 500", "cut request", "lost answer", "cut answer"],
)
def test_a_part_is_sent_again(s3_bucket: S3Bucket, proxy: FaultyProxy, fault: Fault) -> None:
    proxy.plan(r"^PUT .*partNumber=2", fault)
    attempt(s3_bucket, proxy, DATA, checksum="crc32")
    assert_only(s3_bucket, IMAGE, DATA)
    assert proxy.seen("partNumber=2") == 2


@one_server
def test_a_server_that_stays_busy_is_given_up(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(
        r"^PUT .*partNumber=2", *[Answer(503, {"Retry-After": "0"}, ERROR % b"SlowDown")] * 2, Answer(503, {"Retry-After": "7"})
    )
    with pytest.raises(StoreUnavailable) as raised:
        attempt(s3_bucket, proxy, DATA)
    assert raised.value.retry_after == 7
    assert_empty(s3_bucket)


@one_server
def test_a_refusal_is_not_repeated(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(r"^PUT .*partNumber=2", Answer(507, early=True))
    with pytest.raises(StoreFull):
        attempt(s3_bucket, proxy, DATA)
    assert_empty(s3_bucket)
    assert proxy.seen("partNumber=2") == 1


@one_server
def test_a_server_that_stops_reading_meets_the_time_limit(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(r"^PUT .*partNumber=1", *[Stall(100_000)] * 3)
    with pytest.raises(StoreTimeout):
        attempt(s3_bucket, proxy, DATA, limits=replace(HASTY, idle_seconds=1))
    assert_empty(s3_bucket)


def test_an_abort_does_not_wait_for_a_server_that_stopped_reading(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """The time limit of a request is far beyond this test's."""
    proxy.plan(r"^PUT .*partNumber=", *[Stall(100_000)] * 9)

    async def scenario() -> None:
        async with store_of(
            s3_bucket, endpoint=proxy.endpoint, parts_in_flight=2, limits=replace(HASTY, idle_seconds=900)
        ) as store:
            writer = await store.open_writer(IMAGE, None)
            filling = asyncio.ensure_future(asyncio.to_thread(write_all, writer, DATA))
            await asyncio.to_thread(proxy.wait_for, "partNumber=")
            await writer.abort()
            assert_empty(s3_bucket)
            with pytest.raises(StoreError, match="ended"):
                await filling

    run(scenario())


@pytest.mark.parametrize("status", [200, 500])
def test_a_completion_that_fails(s3_bucket: S3Bucket, proxy: FaultyProxy, status: int) -> None:
    """S3 sends a 200 before it knows, and the error behind it."""
    proxy.plan(r"^POST .*uploadId=", *[Answer(status, {"Content-Type": "application/xml"}, ERROR % b"InternalError")] * 9)
    with pytest.raises(StoreUnavailable):
        attempt(s3_bucket, proxy, DATA)
    assert_empty(s3_bucket)


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["one put", "parts"])
def test_a_commit_whose_answer_is_lost_has_taken_effect(s3_bucket: S3Bucket, proxy: FaultyProxy, data: bytes) -> None:
    """The repeated request finds the object there, or the upload gone: neither is another's doing."""
    proxy.plan(r"^POST .*uploadId=|^PUT [^?]*$", CutAnswer(0))
    attempt(s3_bucket, proxy, data)
    assert_only(s3_bucket, IMAGE, data)


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["one put", "parts"])
def test_a_commit_that_nobody_can_tell_of_is_undone_by_the_abort(s3_bucket: S3Bucket, proxy: FaultyProxy, data: bytes) -> None:
    """Every answer to it is lost, and every look at the object refused until the abort."""
    proxy.plan(r"^POST .*uploadId=|^PUT [^?]*$", *[CutAnswer(0)] * 9)

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await store.open_writer(IMAGE, None)
            await asyncio.to_thread(write_all, writer, data)
            await writer.flush(len(data))
            proxy.plan(rf"^HEAD .*{IMAGE}", Fault(), *[Answer(500)] * 4)  # it looks once before the commit
            with pytest.raises(StoreError):
                await writer.commit(len(data), {})
            assert s3_bucket.objects() == {IMAGE: len(data)}
            await writer.abort()

    run(scenario(), seconds=60)
    assert_empty(s3_bucket)


@pytest.mark.parametrize("commit", [False, True])
def test_an_upload_whose_id_never_came_is_removed(s3_bucket: S3Bucket, proxy: FaultyProxy, commit: bool) -> None:
    proxy.plan(r"^POST .*\?uploads", CutAnswer(0))

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await store.open_writer(IMAGE, LARGE)
            assert len(s3_bucket.uploads()) == 2
            await asyncio.to_thread(write_all, writer, DATA)
            await writer.flush(LARGE)
            if commit:
                await writer.commit(LARGE, {})
            await writer.abort()

    run(scenario(), seconds=60)
    assert s3_bucket.uploads() == []
    assert s3_bucket.objects() == ({IMAGE: LARGE} if commit else {})


def test_an_opening_whose_answers_are_all_lost(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    proxy.plan(r"^POST .*\?uploads", *[CutAnswer(0)] * 4)
    with pytest.raises(StoreUnavailable):
        run(open_large(s3_bucket, proxy), seconds=60)
    assert_empty(s3_bucket)


async def open_large(bucket: S3Bucket, proxy: FaultyProxy) -> None:
    async with store_of(bucket, endpoint=proxy.endpoint) as store:
        await store.open_writer(IMAGE, LARGE)


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["one put", "parts"])
def test_an_object_that_came_meanwhile_is_left_alone(s3_bucket: S3Bucket, data: bytes) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            writer = await store.open_writer(IMAGE, None)
            await asyncio.to_thread(write_all, writer, data)
            await writer.flush(len(data))
            s3_bucket.write(IMAGE, b"another's")
            with pytest.raises(Duplicate):
                await writer.commit(len(data), {})
            await writer.abort()

    run(scenario())
    assert_only(s3_bucket, IMAGE, b"another's")


def test_a_bucket_that_is_gone(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            writer = await store.open_writer(IMAGE, LARGE)
            await asyncio.to_thread(write_all, writer, DATA)
            await writer.flush(LARGE)
            s3_bucket.server.empty_bucket(s3_bucket.name)
            s3_bucket.server.delete_bucket(s3_bucket.name)
            with pytest.raises(StoreError):
                await writer.commit(LARGE, {})
            await writer.abort()
            await store.discard(writer.trace)
            with pytest.raises(StoreError, match="no bucket"):
                await store.find(IMAGE)

    try:
        run(scenario(), seconds=60)
    finally:
        with suppress(Exception):
            s3_bucket.server.make_bucket(s3_bucket.name)  # its fixture removes it


@pytest.mark.parametrize("wrong", [{"secret_key": "not-the-secret-key"}, {"access_key": "NOSUCHUSER0000000001"}])
def test_wrong_credentials(s3_bucket: S3Bucket, wrong: dict[str, str]) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket, **wrong) as store:
            for call in (store.open(), store.open_writer(IMAGE, 3), store.find(IMAGE), store.strays()):
                with pytest.raises(StoreDenied) as raised:
                    await call
                assert not any(secret in f"{raised.value!r} {raised.value}" for secret in wrong.values())

    run(scenario())


@pytest.mark.parametrize(
    ("server", "checksum"), [("swift_s3", "crc32"), ("swift_s3", "auto"), ("radosgw", "md5"), ("radosgw", "auto")]
)
def test_a_byte_changed_on_the_way_is_noticed(request: pytest.FixtureRequest, server: str, checksum: str) -> None:
    bucket: S3Bucket = request.getfixturevalue(f"{server}_bucket")
    with FaultyProxy(bucket.server.endpoint) as proxy:
        proxy.plan(r"^PUT .*partNumber=2", Change(at=300_000))
        proxy.plan(r"^PUT [^?]*$", Change(at=3))
        attempt(bucket, proxy, DATA, checksum=checksum)
        assert_only(bucket, IMAGE, DATA)
        bucket.delete(IMAGE)
        attempt(bucket, proxy, SMALL, checksum=checksum)
        assert_only(bucket, IMAGE, SMALL)


def test_a_quota(radosgw_bucket: S3Bucket) -> None:
    conf = radosgw_bucket.server.daemons["radosgw"].directory / "ceph" / "etc" / "ceph.conf"

    def admin(*words: str) -> bytes:
        done = subprocess.run(["radosgw-admin", "-c", conf, *words], capture_output=True, timeout=30, check=True)
        return done.stdout

    limits = ["--bucket", radosgw_bucket.name, "--quota-scope=bucket"]
    admin("quota", "set", *limits, "--max-size=1048576")
    admin("quota", "enable", *limits)
    assert json.loads(admin("bucket", "stats", "--bucket", radosgw_bucket.name))["bucket_quota"]["enabled"]

    async def scenario(data: bytes) -> None:
        async with store_of(radosgw_bucket) as store:
            await write(store, IMAGE, data)

    for data in (DATA, DATA[: 2 << 20]):
        with pytest.raises(StoreFull):
            run(scenario(data))
        assert_empty(radosgw_bucket)
