"""What writers of the S3 store leave, and who may remove it."""

from __future__ import annotations

import asyncio

import pytest
from faults.loop import run
from real_servers import S3Bucket, S3Server
from s3_subject import LARGE, assert_empty, assert_only, one_server, store_of, write
from subject import IMAGE, OTHER, content, write_all

from glance_stream.errors import InvalidRequest, StoreError

DATA = content(LARGE)


def test_another_process_removes_what_a_dead_writer_left(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as dead, store_of(s3_bucket) as store:
            writer = await dead.open_writer(IMAGE, LARGE)
            await asyncio.to_thread(write_all, writer, DATA)
            await writer.flush(LARGE)
            assert s3_bucket.uploads() != []
            await store.discard(writer.trace)
            assert_empty(s3_bucket)
            with pytest.raises(StoreError, match="discarded"):
                await writer.commit(LARGE, {})
            await writer.abort()

    run(scenario())


@one_server
def test_a_discard_leaves_what_a_living_writer_of_the_process_has(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            one, two = [await store.open_writer(IMAGE, LARGE) for _ in range(2)]
            await store.discard(one.trace)
            assert len(s3_bucket.uploads()) == 1
            await asyncio.to_thread(write_all, two, DATA)
            await two.flush(LARGE)
            await two.commit(LARGE, {})
            await one.abort()

    run(scenario())
    assert_only(s3_bucket, IMAGE, DATA)


@one_server
def test_a_discard_leaves_older_uploads_and_other_keys(s3_bucket: S3Bucket) -> None:
    """The longer key begins with the other: S3 lists by prefix."""

    async def scenario() -> None:
        async with store_of(s3_bucket) as dead, store_of(s3_bucket) as store:
            writer = await dead.open_writer(f"{IMAGE}2", LARGE)
            other = await dead.open_writer(IMAGE, LARGE)
            later = other.trace.rpartition("=")[0] + "=99999999999"
            await store.discard(later)
            assert len(s3_bucket.uploads()) == 2
            await store.discard(other.trace)
            assert [key for key, _ in s3_bucket.uploads()] == [f"{IMAGE}2"]
            await writer.abort()
            await other.abort()

    run(scenario())
    assert_empty(s3_bucket)


@one_server
def test_a_sweep_by_another_process_spares_by_the_writers_trace(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as running, store_of(s3_bucket) as store:
            writer, other = await running.open_writer(IMAGE, LARGE), await running.open_writer(OTHER, LARGE)
            assert [stray.image_id for stray in await store.sweep(0, spare=[writer.trace])] == [OTHER]
            assert {stray.trace for stray in await running.strays()} == {writer.trace}
            [stray] = await store.strays()
            assert stray.trace != writer.trace
            assert [swept.trace for swept in await store.sweep(0)] == [stray.trace]
            await writer.abort()
            await other.abort()

    run(scenario())
    assert_empty(s3_bucket)


def test_the_size_of_a_stray_is_that_of_its_parts(s3_bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            writer = await store.open_writer(IMAGE, LARGE)
            assert [stray.size for stray in await store.strays()] == [0]
            await asyncio.to_thread(write_all, writer, DATA)
            await writer.flush(LARGE)
            [stray] = await store.strays()
            assert stray.size == LARGE
            assert 0 <= stray.age < 60
            await writer.abort()

    run(scenario())


def test_uploads_that_are_no_images_are_nobodys_strays(s3_bucket: S3Bucket) -> None:
    with s3_bucket.server.client() as s3:
        s3.create_multipart_upload(Bucket=s3_bucket.name, Key="backup/2026.tar")

    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            assert await store.strays() == []
            assert await store.sweep(0) == []

    run(scenario())
    assert [key for key, _ in s3_bucket.uploads()] == ["backup/2026.tar"]


@one_server
@pytest.mark.parametrize("hint", [None, 3, LARGE, 10 * LARGE])
def test_a_hint_is_only_a_hint(s3_bucket: S3Bucket, hint: int | None) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            await write(store, IMAGE, DATA, size_hint=hint)
            await write(store, OTHER, b"small", size_hint=hint)

    run(scenario())
    assert s3_bucket.objects() == {IMAGE: LARGE, OTHER: 5}
    assert s3_bucket.uploads() == []


@one_server
@pytest.mark.parametrize("size", [5 << 20, (5 << 20) + 1, 10 << 20])
def test_images_that_end_with_a_part(s3_bucket: S3Bucket, size: int) -> None:
    async def scenario() -> None:
        async with store_of(s3_bucket) as store:
            await write(store, IMAGE, DATA[:size])

    run(scenario())
    assert_only(s3_bucket, IMAGE, DATA[:size])


def test_a_bucket_is_made_only_where_that_is_wanted_and_by_a_writer(s3_server: S3Server) -> None:
    bucket = S3Bucket(s3_server, "made-by-the-store")

    def there() -> bool:
        with s3_server.client() as s3:
            return bucket.name in [each["Name"] for each in s3.list_buckets()["Buckets"]]

    async def scenario() -> None:
        async with store_of(bucket) as store:
            with pytest.raises(StoreError, match="create_bucket"):
                await store.open()
            with pytest.raises(StoreError, match="create_bucket"):
                await store.open_writer(IMAGE, 3)
        async with store_of(bucket, create_bucket=True) as store:
            await store.open()
            assert not there()
            with pytest.raises(InvalidRequest):
                await store.find("../up")
            await write(store, IMAGE, b"abc")

    try:
        run(scenario())
        assert bucket.objects() == {IMAGE: 3}
    finally:
        if there():
            s3_server.empty_bucket(bucket.name)
            s3_server.delete_bucket(bucket.name)
