"""Commits of the S3 store that nobody saw end. What is found under the key is only ours if it bears the writer's nonce."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator

import pytest
from faults.loop import run
from faulty_proxy import Answer, CutAnswer, Fault, FaultyProxy
from real_servers import S3Bucket
from s3_subject import LARGE, assert_only, store_of
from subject import IMAGE, content, write_all

from glance_stream.errors import Duplicate, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.base import Writer
from glance_stream.stores.s3 import S3Store
from glance_stream.stores.s3.doubt import SETTLED

pytestmark = pytest.mark.parametrize("s3_server", ["radosgw"], indirect=True)

DATA = content(LARGE)
SMALL = content(70_000)
ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>planned</Message></Error>"
COMMIT = r"^POST .*uploadId=|^PUT [^?]*$"
LOOK = rf"^HEAD .*{IMAGE}"
BOTH = pytest.mark.parametrize("data", [SMALL, DATA], ids=["one put", "parts"])


@pytest.fixture
def proxy(s3_bucket: S3Bucket) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_bucket.server.endpoint) as proxy:
        yield proxy


async def flushed(store: S3Store, data: bytes) -> Writer:
    writer = await store.open_writer(IMAGE, None)
    await asyncio.to_thread(write_all, writer, data)
    await writer.flush(len(data))
    return writer


def written_in_between(writer: Writer, bucket: S3Bucket, data: bytes) -> None:
    """Right after the commit's own look another writes an image under the key."""
    commit = writer._committing  # type: ignore[attr-defined]
    look: Callable[[], None] = commit.require_free_name

    def looked() -> None:
        look()
        bucket.write(IMAGE, data)

    commit.require_free_name = looked


@BOTH
@pytest.mark.parametrize("status", [400, 409, 412, 503])
def test_what_another_wrote_just_before_the_commit_stays(s3_bucket: S3Bucket, proxy: FaultyProxy, data: bytes, status: int) -> None:
    """As large as ours, and whatever the commit is answered."""
    theirs = bytes(len(data))
    code = {400: b"InvalidRequest", 409: b"ConditionalRequestConflict", 412: b"PreconditionFailed", 503: b"SlowDown"}[status]

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await flushed(store, data)
            proxy.plan(COMMIT, *[Answer(status, {"Retry-After": "0"}, ERROR % code)] * 9)
            written_in_between(writer, s3_bucket, theirs)
            with pytest.raises(Duplicate):
                await writer.commit(len(data), {})
            await writer.abort()
            assert await writer.published() is None

    run(scenario(), seconds=60)
    assert_only(s3_bucket, IMAGE, theirs)


def test_what_another_wrote_right_after_the_completion_is_not_taken_for_ours(s3_bucket: S3Bucket) -> None:
    """It says nothing of who wrote it: glance_store's objects have no metadata."""
    theirs = bytes(LARGE)

    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            writer = await flushed(store, DATA)
            bucket = writer._bucket  # type: ignore[attr-defined]
            complete = bucket.complete

            def completed(*words: object) -> str:
                etag: str = complete(*words)
                s3_bucket.write(IMAGE, theirs)
                return etag

            bucket.complete = completed
            with pytest.raises(Duplicate):
                await writer.commit(LARGE, {})
            await writer.abort()
            assert await writer.published() is None

    run(scenario(), seconds=60)
    assert_only(s3_bucket, IMAGE, theirs)


@BOTH
def test_our_own_object_is_no_duplicate(s3_bucket: S3Bucket, proxy: FaultyProxy, data: bytes) -> None:
    """Its answer was lost, a repetition was refused because of it, and then nobody could look."""

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await flushed(store, data)
            proxy.plan(COMMIT, CutAnswer(0), Answer(412, {}, ERROR % b"PreconditionFailed"))
            proxy.plan(LOOK, Fault(), *[Answer(503, {"Retry-After": "0"})] * 3)
            with pytest.raises(StoreUnavailable, match="in doubt"):
                await writer.commit(len(data), {})
            located = Location(f"{store.where}/{IMAGE}", "s3")
            assert await writer.published() == located
            assert await store.published(writer.trace) == located
            await writer.abort()
            assert await writer.published() is None

    run(scenario(), seconds=60)
    assert s3_bucket.objects() == {}


def test_a_put_without_an_answer_may_still_come(s3_bucket: S3Bucket, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does, after the abort has looked. By then, or later, its writer's trace finds it."""

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await flushed(store, SMALL)
            proxy.plan(COMMIT, *[Answer(504)] * 3)  # a gateway has lost patience
            with pytest.raises(StoreUnavailable):
                await writer.commit(len(SMALL), {})
            await writer.abort()
            for asked in (writer.published(), store.published(writer.trace)):
                with pytest.raises(StoreError, match="may still come"):
                    await asked
            await store.discard(writer.trace)
            with s3_bucket.server.client() as s3:
                nonce = writer._nonce  # type: ignore[attr-defined]
                s3.put_object(Bucket=s3_bucket.name, Key=IMAGE, Body=SMALL, Metadata={"glance-stream-writer": nonce})
            found = await store.published(writer.trace)
            assert found == await writer.published() == Location(f"{store.where}/{IMAGE}", "s3")
            await store.delete(found)
            monkeypatch.setattr("glance_stream.stores.s3.doubt.SETTLED", SETTLED - 3601)
            assert await store.published(writer.trace) is None
            assert await writer.published() is None

    run(scenario(), seconds=60)
    assert s3_bucket.objects() == {}


def test_a_completion_without_an_answer_can_not_come_once_its_upload_is_gone(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            writer = await flushed(store, DATA)
            proxy.plan(COMMIT, *[Answer(504)] * 3)
            with pytest.raises(StoreUnavailable):
                await writer.commit(LARGE, {})
            with pytest.raises(StoreError, match="still there"):
                await writer.published()
            with pytest.raises(StoreError, match="still there"):
                await store.published(writer.trace)
            await writer.abort()
            assert await writer.published() is None

    run(scenario(), seconds=60)
    assert s3_bucket.objects() == {}


def test_nobody_names_what_another_writer_made(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            other = await flushed(store, SMALL)
            writer = await flushed(store, SMALL)
            location = await writer.commit(len(SMALL), {})
            with pytest.raises(Duplicate):
                await other.commit(len(SMALL), {})
            await other.abort()
            assert await other.published() is None
            assert await writer.published() == await store.published(writer.trace) == location
            old = other.trace.rpartition("=")[0] + "=12"
            assert await store.published(old) is None
            with pytest.raises(StoreError, match="not a trace"):
                await store.published(location.url)

    run(scenario())


def test_an_image_that_took_long_is_no_single_put(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PUT without an answer would be in doubt for too long."""
    monkeypatch.setattr("glance_stream.stores.s3.writer.PUT_WITHIN", -1)

    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            location = await (await flushed(store, SMALL)).commit(len(SMALL), {})
            assert (await store.stat(location)).size == len(SMALL)

    run(scenario())
    with s3_bucket.server.client() as s3:
        assert s3.head_object(Bucket=s3_bucket.name, Key=IMAGE)["ETag"].strip('"').endswith("-1")
    assert_only(s3_bucket, IMAGE, SMALL)


def test_a_part_is_sent_twice_only_once(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """What the server does not confirm is known from the first parts on."""

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            await (await flushed(store, DATA)).commit(LARGE, {})
            before = proxy.seen("partNumber=")
            await store.delete(Location(f"{store.where}/{IMAGE}", "s3"))
            await (await flushed(store, DATA)).commit(LARGE, {})
            assert proxy.seen("partNumber=") == before + 3

    run(scenario(), seconds=60)
    assert_only(s3_bucket, IMAGE, DATA)


def test_nobody_tries_inside_of_tries(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """Whoever asks the store asks again (`glance_stream.stores.wrappers.retrying`)."""
    proxy.plan(LOOK, *[Answer(503, {"Retry-After": "0"})] * 9)

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            with pytest.raises(StoreUnavailable):
                await store.find(IMAGE)

    run(scenario())
    assert proxy.seen(LOOK) == 1


def test_what_a_server_says_is_in_no_traceback(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """Servers quote the request, and with it what signed it."""
    proxy.plan(r"^GET .*\?uploads", Answer(403, {}, ERROR.replace(b"planned", b"geheim4711") % b"AccessDenied"))

    async def scenario() -> None:
        async with store_of(s3_bucket, endpoint=proxy.endpoint) as store:
            await store.strays()

    with pytest.raises(StoreError) as raised:
        run(scenario())
    assert "geheim4711" not in "".join(traceback.format_exception(raised.value))
