"""Small images of the Swift store: each is kept until its commit, and is one PUT then."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from faulty_proxy import Answer, Change, CutAnswer, CutRequest, Fault, FaultyProxy, Stall
from real_servers import SwiftContainer, SwiftServer
from server_fixtures import own_container
from subject import IMAGE, content, read_all, write_all
from swift_subject import SEGMENT_SIZE, segments, store_on

from glance_stream.errors import Duplicate, StoreError, StoreFull
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.stores.base import Writer
from glance_stream.stores.swift import SwiftStore
from glance_stream.stores.swift.plan import WHOLE, Limits, Plan

DATA = content(SEGMENT_SIZE)  # the largest that is whole here
LARGER = content(SEGMENT_SIZE + 1)
PUT = rf"^PUT .*/{IMAGE}$"
LOST = CutAnswer(after=len(b"HTTP/1.1 100 Continue\r\n\r\n") + 1)  # in the last answer: the body has come
SOON = RetryPolicy(base=0.01, cap=0.05)

one_server = pytest.mark.parametrize("shared", ["swift"], indirect=True)


@pytest.fixture(scope="module", params=["swift", "radosgw_swift"])
def shared(request: pytest.FixtureRequest) -> Iterator[SwiftContainer]:
    server: SwiftServer = request.getfixturevalue(request.param)
    with own_container(server) as container:
        yield container


@pytest.fixture
def container(shared: SwiftContainer) -> Iterator[SwiftContainer]:
    yield shared
    shared.server.empty_container(shared.name)


@pytest.fixture
def proxy(container: SwiftContainer) -> Iterator[FaultyProxy]:
    with FaultyProxy(f"http://{urlsplit(container.server.auth_url).netloc}") as proxy:
        yield proxy


@pytest.fixture
def store(container: SwiftContainer, proxy: FaultyProxy) -> SwiftStore:
    """Behind the proxy."""
    with container.server.connection() as swift:
        path = urlsplit(swift.get_auth()[0]).path
    return store_on(container, endpoint=f"{proxy.endpoint}{path}", policy=SOON)


async def flushed(store: SwiftStore, data: bytes, size_hint: int | None = None) -> Writer:
    writer = await store.open_writer(IMAGE, size_hint)
    write_all(writer, data)
    await writer.flush(len(data))
    return writer


def write(store: SwiftStore, data: bytes, size_hint: int | None = None) -> Location:
    async def scenario() -> Location:
        return await (await flushed(store, data, size_hint)).commit(len(data), {})

    return run(scenario())


def assert_whole(container: SwiftContainer, data: bytes = DATA) -> None:
    """A plain object and nothing beside it, as the server's own client sees it."""
    assert container.objects() == {IMAGE: len(data)}
    assert container.read(IMAGE) == data
    assert "x-static-large-object" not in container.headers(IMAGE)


@pytest.mark.parametrize("size_hint", [None, len(DATA), 3], ids=["unknown", "announced", "announced as less"])
def test_a_small_image_is_one_put(container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore, size_hint: int | None) -> None:
    async def scenario() -> None:
        writer = await flushed(store, DATA, size_hint)
        assert proxy.seen("^PUT") == 0
        await writer.commit(len(DATA), {})
        assert writer._kept is None  # type: ignore[attr-defined]

    run(scenario())
    assert proxy.seen("^PUT") == proxy.seen(PUT) == 1
    assert_whole(container)
    assert container.headers(IMAGE)["etag"].strip('"') == hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("size_hint", [None, len(LARGER)], ids=["unknown", "announced"])
@one_server
def test_one_byte_more_and_it_has_segments(container: SwiftContainer, store: SwiftStore, size_hint: int | None) -> None:
    location = write(store, LARGER, size_hint)
    assert [container.objects()[name] for name in segments(container, IMAGE)] == [SEGMENT_SIZE, 1]
    assert read_all(store.open_reader(location)) == LARGER


def test_how_much_is_kept() -> None:
    """8 MiB at most, and no more than a segment takes."""
    plan = Plan.of(200 << 20, None, Limits())
    assert WHOLE == 8 << 20
    assert plan.is_whole(WHOLE)
    assert not plan.is_whole(WHOLE + 1)
    assert not Plan.of(1 << 20, None, Limits()).is_whole((1 << 20) + 1)
    assert not Plan.of(200 << 20, None, Limits(max_object_size=1000)).is_whole(1001)


def test_a_lost_answer_is_settled_by_looking(container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore) -> None:
    proxy.plan(PUT, LOST)
    assert read_all(store.open_reader(write(store, DATA))) == DATA
    assert proxy.seen(PUT) == 1
    assert_whole(container)


@one_server
@pytest.mark.parametrize("data", [DATA, LARGER], ids=["one put", "segments"])
def test_a_commit_that_nobody_can_tell_of_is_undone_by_the_abort(
    container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore, data: bytes
) -> None:
    """Its answer is lost, and every look at the image refused until the abort."""

    async def scenario() -> None:
        writer = await flushed(store, data)
        proxy.plan(rf"{PUT}|^PUT .*/{IMAGE}\?", LOST if data == DATA else CutAnswer(0))
        looks = proxy.seen(rf"^HEAD .*/{IMAGE}$") + 6
        proxy.plan(rf"^HEAD .*/{IMAGE}$", Fault(), *[Answer(503)] * 5)  # it looks once before the commit
        with pytest.raises(StoreError):
            await writer.commit(len(data), {})
        assert container.objects()[IMAGE] == len(data)
        while proxy.seen(rf"^HEAD .*/{IMAGE}$") < looks:  # as often as it takes
            with pytest.raises(StoreError):
                await writer.abort()
        await writer.abort()

    run(scenario())
    assert container.objects() == {}


@pytest.mark.parametrize("fault", [CutRequest(100), Answer(503), Change(at=3)], ids=["cut", "busy", "changed byte"])
def test_what_did_not_arrive_as_it_is_is_sent_again(
    container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore, fault: Fault
) -> None:
    proxy.plan(PUT, fault)
    write(store, DATA)
    assert proxy.seen(PUT) == 2
    assert_whole(container)


@one_server
def test_a_token_that_ends_before_the_commit(container: SwiftContainer, store: SwiftStore) -> None:
    async def scenario() -> None:
        writer = await flushed(store, DATA)
        container.server.expire_tokens()
        await writer.commit(len(DATA), {})

    run(scenario())
    assert_whole(container)


def test_an_image_that_came_first_is_left_alone(container: SwiftContainer, store: SwiftStore) -> None:
    async def scenario() -> None:
        writer = await flushed(store, DATA)
        container.write(IMAGE, b"another's")
        with pytest.raises(Duplicate):
            await writer.commit(len(DATA), {})
        await writer.abort()

    run(scenario())
    assert_whole(container, b"another's")


@one_server
def test_an_image_that_came_after_the_look_is_left_alone(container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore) -> None:
    """Swift itself refuses to replace it. radosgw's Swift API does not: If-None-Match means something to its S3 API only."""

    async def scenario() -> None:
        writer = await flushed(store, DATA)
        container.write(IMAGE, b"another's")
        proxy.plan(rf"^HEAD .*/{IMAGE}$", Answer(404))
        with pytest.raises(Duplicate):
            await writer.commit(len(DATA), {})
        await writer.abort()

    run(scenario())
    assert_whole(container, b"another's")


@one_server
def test_of_two_commits_at_once_the_image_is_one_of_the_two(container: SwiftContainer, store: SwiftStore) -> None:
    """Swift's own look and its write are two steps: now and then both PUTs are answered well, and the later one stays."""
    other = content(SEGMENT_SIZE, seed=2)

    async def scenario() -> list[object]:
        writers = [await flushed(store, data) for data in (DATA, other)]
        ended = await asyncio.gather(*[writer.commit(SEGMENT_SIZE, {}) for writer in writers], return_exceptions=True)
        for writer in writers:
            await writer.abort()
        return list(ended)

    ended = run(scenario())
    won = [data for data, each in zip((DATA, other), ended, strict=True) if isinstance(each, Location)]
    assert won
    assert all(isinstance(each, Location | Duplicate) for each in ended)
    assert container.read(IMAGE) in won


@one_server
def test_a_quota_that_is_set_meanwhile(container: SwiftContainer, store: SwiftStore) -> None:
    def quota(size: str) -> None:
        with container.server.connection() as swift:
            swift.post_container(container.name, {"X-Container-Meta-Quota-Bytes": size})

    async def scenario() -> None:
        writer = await flushed(store, DATA)
        quota(str(SEGMENT_SIZE - 1))
        with pytest.raises(StoreFull, match="status 413"):
            await writer.commit(len(DATA), {})
        await writer.abort()
        writer = await store.open_writer(IMAGE, None)
        with pytest.raises(StoreFull, match="quota"):
            write_all(writer, DATA)
        await writer.abort()

    try:
        run(scenario())
    finally:
        quota("")
    assert container.objects() == {}


@one_server
def test_a_process_that_is_killed_before_the_commit_leaves_nothing(container: SwiftContainer) -> None:
    server = container.server
    script = f"""
import asyncio, os, signal
from glance_stream.stores.swift import SwiftOptions, SwiftStore
options = SwiftOptions(auth_url={server.auth_url!r}, auth_version="1", user={server.user!r}, key={server.key!r},
    container={container.name!r}, segment_size={SEGMENT_SIZE})
async def main():
    writer = SwiftStore("swift1", options).writer({IMAGE!r})
    print(writer.trace, flush=True)
    await writer.open(None)
    writer.write(memoryview(bytes({SEGMENT_SIZE})))
    await writer.flush({SEGMENT_SIZE})
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    assert container.objects() == {}
    store = store_on(container)
    assert run(store.strays()) == []
    run(store.discard(done.stdout.strip()))


def test_a_trace_is_no_reason_to_remove_the_image(container: SwiftContainer, store: SwiftStore) -> None:
    async def scenario() -> None:
        writer = await flushed(store, DATA)
        await writer.commit(len(DATA), {})
        await store.discard(writer.trace)
        assert await store.strays() == []

    run(scenario())
    assert_whole(container)


@one_server
@pytest.mark.parametrize("after", [100, SEGMENT_SIZE], ids=["in the middle", "after the last byte"])
def test_an_abort_ends_a_commit_that_hangs(
    container: SwiftContainer, proxy: FaultyProxy, store: SwiftStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """It waits a little for an answer that may still come."""
    monkeypatch.setattr("glance_stream.stores.swift.writer.END_SECONDS", 0.2)
    proxy.plan(PUT, Stall(after=after))

    async def scenario() -> None:
        writer = await flushed(store, DATA)
        committing = asyncio.ensure_future(writer.commit(len(DATA), {}))
        await asyncio.to_thread(proxy.wait_for, PUT)
        committing.cancel()
        await asyncio.wait([committing])
        await writer.abort()

    run(scenario())
    assert container.objects() == {}
    assert proxy.seen(PUT) == 1
