"""Going on with an upload that a dead writer has left: which parts are sent again, counted between the store and a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from faults.loop import run
from faulty_proxy import Answer, FaultyProxy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_servers import S3Bucket
from s3_subject import MIB, assert_empty, assert_only, one_server, store_of
from subject import IMAGE, content, drain_all

from glance_stream.errors import NotFound
from glance_stream.stores.s3 import S3Store

PART = 5 * MIB
DATA = content(3 * PART + 4321)
STARTS = range(0, len(DATA), PART)


@pytest.fixture
def proxy(s3_bucket: S3Bucket) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_bucket.server.endpoint) as proxy:
        yield proxy


def through(proxy: FaultyProxy) -> dict[str, str]:
    """With CRC32 alone: radosgw compares none, and to have them compared "auto" sends the first parts once more."""
    return {"endpoint": proxy.endpoint, "checksum": "crc32"}


async def die_after(store: S3Store, written: bytes) -> str:
    """The trace of a writer that has sent these bytes, and that nobody ends."""
    writer = await store.open_writer(IMAGE, len(DATA))
    await asyncio.to_thread(drain_all, writer, written)
    await writer.flush(len(written))
    return writer.trace


async def go_on(store: S3Store, trace: str) -> int:
    """The bytes that were kept."""
    writer = store.resume(IMAGE, trace)
    await writer.open(len(DATA))
    try:
        await asyncio.to_thread(drain_all, writer, DATA)
        await writer.flush(len(DATA))
        await writer.commit(len(DATA), {})
    except BaseException:
        await writer.abort()
        raise
    return writer.kept


def sent(proxy: FaultyProxy) -> list[int]:
    """The parts that were sent since the list of requests was cleared."""
    found = [re.search(r"^PUT .*partNumber=(\d+)", each) for each in proxy.requests]
    return sorted(int(each[1]) for each in found if each)


def changed(parts: set[int], data: bytes = DATA) -> bytes:
    """With one wrong byte in each of these parts."""
    wrong = bytearray(data)
    for number in parts:
        at = min((number - 1) * PART + 77, len(wrong) - 1)
        wrong[at] ^= 1
    return bytes(wrong)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, len(DATA)), wrong=st.sets(st.integers(1, 4), max_size=2))
@one_server
def test_just_the_parts_that_are_not_there_are_sent(s3_bucket: S3Bucket, proxy: FaultyProxy, cut: int, wrong: set[int]) -> None:
    held = changed(wrong)[:cut]
    right = {at // PART + 1 for at in STARTS if held[at : at + PART] == DATA[at : at + PART]}

    async def scenario() -> int:
        async with store_of(s3_bucket, **through(proxy)) as store:
            trace = await die_after(store, held)
        async with store_of(s3_bucket, **through(proxy)) as store:
            proxy.requests.clear()
            return await go_on(store, trace)

    s3_bucket.server.empty_bucket(s3_bucket.name)
    kept = run(scenario(), seconds=60)
    assert_only(s3_bucket, IMAGE, DATA)
    assert sent(proxy) == [number for number in range(1, 5) if number not in right]
    assert kept == sum(len(DATA[(number - 1) * PART : number * PART]) for number in right)


@one_server
def test_parts_of_another_size_are_sent_again(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """As after a change of ``part_size``."""

    async def scenario() -> int:
        async with store_of(s3_bucket, **through(proxy), part_size=6 * MIB) as store:
            trace = await die_after(store, DATA)
        async with store_of(s3_bucket, **through(proxy)) as store:
            return await go_on(store, trace)

    assert run(scenario(), seconds=60) == 0
    assert_only(s3_bucket, IMAGE, DATA)


@one_server
def test_etags_that_are_no_md5s_tell_nothing(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """As of a bucket that encrypts with keys of a key service."""
    listed = "".join(
        f"<Part><PartNumber>{at // PART + 1}</PartNumber><ETag>&quot;{'0123456789abcdef' * 2}-1&quot;</ETag>"
        f"<Size>{len(DATA[at : at + PART])}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Part>"
        for at in STARTS
    )
    answer = Answer(200, {"Content-Type": "application/xml"}, f"<ListPartsResult>{listed}</ListPartsResult>".encode())

    async def scenario() -> int:
        async with store_of(s3_bucket, **through(proxy)) as store:
            trace = await die_after(store, DATA)
            proxy.plan(r"^GET .*uploadId=", answer)
            return await go_on(store, trace)

    assert run(scenario(), seconds=60) == 0
    assert sent(proxy) == sorted([1, 2, 3, 4] * 2)
    assert_only(s3_bucket, IMAGE, DATA)


@one_server
def test_of_several_uploads_the_fullest_is_taken_and_none_is_left(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """A request to begin one that was repeated has made two, and the answer to the first was lost."""

    async def scenario() -> int:
        async with store_of(s3_bucket, **through(proxy)) as store:
            trace = await die_after(store, DATA[: 2 * PART])
        async with store_of(s3_bucket, **through(proxy)) as store:
            await die_after(store, DATA[:PART])
        async with store_of(s3_bucket, **through(proxy)) as store:
            return await go_on(store, trace)

    assert run(scenario(), seconds=60) == 2 * PART
    assert_only(s3_bucket, IMAGE, DATA)


@one_server
def test_an_upload_that_goes_away_leaves_nothing(s3_bucket: S3Bucket, proxy: FaultyProxy) -> None:
    """A rule of the bucket may abort what is old."""

    async def scenario() -> None:
        async with store_of(s3_bucket, **through(proxy)) as store:
            trace = await die_after(store, DATA[: 2 * PART])
            writer = store.resume(IMAGE, trace)
            await writer.open(len(DATA))
            await store.discard(trace)
            await asyncio.to_thread(drain_all, writer, DATA[: 2 * PART + 1])
            with pytest.raises(NotFound):
                await writer.flush(2 * PART + 1)
            await writer.abort()

    run(scenario(), seconds=60)
    assert_empty(s3_bucket)


@one_server
@pytest.mark.parametrize("size", [PART - 1, 3 * PART, None], ids=["one part", "three parts", "unknown"])
def test_an_upload_with_too_many_parts_is_begun_anew(s3_bucket: S3Bucket, proxy: FaultyProxy, size: int | None) -> None:
    """radosgw completes no upload of which parts are left out."""

    async def scenario() -> None:
        async with store_of(s3_bucket, **through(proxy)) as store:
            trace = await die_after(store, DATA)
            writer = store.resume(IMAGE, trace)
            with pytest.raises(NotFound):
                await writer.open(size)
            await writer.abort()

    run(scenario(), seconds=60)
    assert_empty(s3_bucket)
