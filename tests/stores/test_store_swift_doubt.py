"""Commits of the Swift store that nobody saw end, and what is not known while the container can't be seen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from faulty_proxy import Answer, CutAnswer, Fault, FaultyProxy
from real_servers import SwiftContainer, SwiftServer
from server_fixtures import own_container
from subject import IMAGE, content, put, read_all, write_all
from swift_subject import SEGMENT_SIZE, segments, store_on

from glance_stream.errors import Duplicate, NotFound, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.stores.base import Writer
from glance_stream.stores.swift import SwiftStore, traces
from glance_stream.stores.swift.client import Session
from glance_stream.stores.swift.commit import Commit, Undecided, is_committed
from glance_stream.stores.swift.names import Group

WHOLE = content(SEGMENT_SIZE)
LARGER = content(2 * SEGMENT_SIZE + 5)
COMMIT = rf"^PUT .*/{IMAGE}(\?|$)"
LOST = CutAnswer(after=len(b"HTTP/1.1 100 Continue\r\n\r\n") + 1)
SOON = RetryPolicy(tries=2, base=0.01, cap=0.05)
BOTH = pytest.mark.parametrize("data", [WHOLE, LARGER], ids=["one put", "segments"])
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


def behind(proxy: FaultyProxy, container: SwiftContainer, policy: RetryPolicy = SOON, **more: Any) -> SwiftStore:
    with container.server.connection() as swift:
        path = urlsplit(swift.get_auth()[0]).path
    return store_on(container, endpoint=f"{proxy.endpoint}{path}", policy=policy, **more)


async def flushed(store: SwiftStore, data: bytes) -> Writer:
    writer = await store.open_writer(IMAGE, len(data))
    await asyncio.to_thread(write_all, writer, data)
    await writer.flush(len(data))
    return writer


@BOTH
@one_server
@pytest.mark.parametrize("status", [400, 409, 412, 503])
def test_what_another_wrote_just_before_the_commit_stays(
    container: SwiftContainer, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, data: bytes, status: int
) -> None:
    """As large as ours, and whatever the commit is answered."""
    store = behind(proxy, container)
    looked = Commit._look_before

    def and_then(commit: Commit, session: Session) -> None:
        looked(commit, session)
        container.write(IMAGE, bytes(len(data)))

    monkeypatch.setattr(Commit, "_look_before", and_then)

    async def scenario() -> None:
        writer = await flushed(store, data)
        proxy.plan(COMMIT, *[Answer(status)] * 9)
        with pytest.raises(Duplicate):
            await writer.commit(len(data), {})
        await writer.abort()
        if status == 503 and data == WHOLE:  # some of the object servers may have it
            with pytest.raises(StoreError, match="may still come"):
                await writer.published()
        else:
            assert await writer.published() is None

    run(scenario())
    assert container.objects() == {IMAGE: len(data)}
    assert container.read(IMAGE) == bytes(len(data))


@BOTH
def test_a_lost_answer_is_told_by_the_mark(container: SwiftContainer, proxy: FaultyProxy, data: bytes) -> None:
    store = behind(proxy, container, policy=RetryPolicy(tries=1))

    async def scenario() -> None:
        writer = await flushed(store, data)
        proxy.plan(COMMIT, LOST if data == WHOLE else CutAnswer(0))
        proxy.plan(rf"^HEAD .*/{IMAGE}$", Fault(), Answer(503))
        with pytest.raises(StoreError):
            await writer.commit(len(data), {})
        located = Location(f"swift+config://ref1/{container.name}/{IMAGE}", "swift1")
        assert await writer.published() == await store.published(writer.trace) == located
        await writer.abort()
        assert await writer.published() is None

    run(scenario())
    assert container.objects() == {}


@one_server
def test_a_put_without_an_answer_may_still_come(
    container: SwiftContainer, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = behind(proxy, container)

    async def scenario() -> None:
        writer = await flushed(store, WHOLE)
        proxy.plan(COMMIT, *[Answer(504)] * 2)
        with pytest.raises(StoreError):
            await writer.commit(len(WHOLE), {})
        await writer.abort()
        for asked in (writer.published(), store.published(writer.trace)):
            with pytest.raises(StoreError, match="may still come"):
                await asked
        await store.discard(writer.trace)
        nonce = writer.trace.rstrip("/").rpartition("/")[2]
        container.write(IMAGE, WHOLE, {"X-Object-Meta-Glance-Stream": nonce})
        found = await store.published(writer.trace)
        assert found is not None
        assert found == await writer.published()
        await store.delete(found)
        monkeypatch.setattr(traces, "SETTLED", -1)
        assert await store.published(writer.trace) is None
        assert await writer.published() is None

    run(scenario())


def test_a_manifest_can_not_come_once_its_segments_are_gone(container: SwiftContainer, proxy: FaultyProxy) -> None:
    store = behind(proxy, container)

    async def scenario() -> None:
        writer = await flushed(store, LARGER)
        proxy.plan(COMMIT, *[Answer(504)] * 2)
        with pytest.raises(StoreError):
            await writer.commit(len(LARGER), {})
        with pytest.raises(StoreError, match="still there"):
            await writer.published()
        with pytest.raises(StoreError, match="still there"):
            await store.published(writer.trace)
        await writer.abort()
        assert await writer.published() is None
        late = writer._commits  # type: ignore[attr-defined]
        with store._client.session() as session:
            assert session.put_manifest(IMAGE, late._manifest(), {}).status >= 400

    run(scenario())
    assert container.objects() == {}


def test_nobody_names_what_another_writer_made(container: SwiftContainer) -> None:
    store = store_on(container)

    async def scenario() -> None:
        other, writer = await flushed(store, LARGER), await flushed(store, LARGER)
        location = await writer.commit(len(LARGER), {})
        with pytest.raises(Duplicate):
            await other.commit(len(LARGER), {})
        await other.abort()
        assert await other.published() is None
        assert await writer.published() == await store.published(writer.trace) == location
        with pytest.raises(StoreError, match="not a trace"):
            await store.published(location.url)

    run(scenario())
    assert len(segments(container, IMAGE)) == 3


@one_server
def test_an_image_that_took_long_has_a_segment(container: SwiftContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PUT without an answer would be in doubt for too long."""
    monkeypatch.setattr("glance_stream.stores.swift.writer.PUT_WITHIN", -1)
    store = store_on(container)
    location = run(put(store, IMAGE, WHOLE))
    assert len(segments(container, IMAGE)) == 1
    assert read_all(store.open_reader(location)) == WHOLE


@one_server
@pytest.mark.parametrize("create", [False, True])
def test_of_a_container_that_can_not_be_seen_nothing_is_known_to_be_gone(
    container: SwiftContainer, proxy: FaultyProxy, create: bool
) -> None:
    """As where the endpoint or the project is another's."""
    location = run(put(store_on(container), IMAGE, WHOLE))
    store = behind(proxy, container, create_container=create)
    trace = store.writer(IMAGE).trace
    proxy.plan(rf"/{container.name}", *[Answer(404)] * 99)
    for asked in (store.stat(location), store.delete(location), store.discard(trace), store.published(trace)):
        with pytest.raises(StoreUnavailable, match="is not there"):
            run(asked)
    with pytest.raises(StoreUnavailable):
        read_all(store.open_reader(location))
    assert container.read(IMAGE) == WHOLE


@one_server
def test_a_container_that_was_seen_is_not_to_be_made(container: SwiftContainer, proxy: FaultyProxy) -> None:
    store = behind(proxy, container, create_container=True)
    run(put(store, IMAGE, WHOLE))
    proxy.plan(rf"/{container.name}", *[Answer(404)] * 99)
    with pytest.raises(StoreUnavailable):
        run(store.find(IMAGE))


@one_server
@pytest.mark.parametrize("late", [1, 2, 3], ids=["before any is removed", "after some", "after all"])
def test_a_discard_beside_a_commit(
    container: SwiftContainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, late: int
) -> None:
    """The manifest is stored after the discard's first look: an image is whole, or it is not there."""
    monkeypatch.setattr(traces, "LOOK_EVERY", 2)
    store, other = store_on(container), store_on(container)
    data = content(4 * SEGMENT_SIZE)
    looks = 0
    look = is_committed

    async def scenario() -> None:
        writer = await flushed(store, data)
        # Made as the commit makes it: it has seen the segments, and stores the manifest in this moment.
        manifest = [{"path": f"/{container.name}/{name}", "size_bytes": SEGMENT_SIZE} for name in segments(container, IMAGE)]

        def commits(*words: object) -> bool:
            nonlocal looks
            looks += 1
            found = look(*words)  # type: ignore[arg-type]
            if looks == late:
                lay(container, writer.trace, manifest)
            return found

        monkeypatch.setattr(traces, "is_committed", commits)
        await other.discard(writer.trace)
        monkeypatch.setattr(traces, "is_committed", look)
        await writer.abort()

    with caplog.at_level(logging.WARNING):
        run(scenario())
    if late == 1:
        assert container.read(IMAGE) == data
    else:
        assert container.objects() == {}
        assert "committed while its segments were discarded" in caplog.text


def lay(container: SwiftContainer, trace: str, manifest: list[dict[str, object]]) -> None:
    """A manifest that the cluster has verified before: it takes one whose segments are there, so they are for a moment."""
    nonce = trace.rstrip("/").rpartition("/")[2]
    there = container.objects()
    for each in manifest:
        name = str(each["path"]).split("/", 2)[2]
        if name not in there:
            container.write(name, bytes(SEGMENT_SIZE))
    with container.server.connection() as swift:
        headers = {"X-Object-Meta-Glance-Stream": nonce}
        swift.put_object(container.name, IMAGE, json.dumps(manifest), headers=headers, query_string="multipart-manifest=put")
    for each in manifest:
        name = str(each["path"]).split("/", 2)[2]
        if name not in there:
            container.delete(name)


@one_server
def test_a_manifest_that_is_gone_in_the_same_moment_decides_nothing(container: SwiftContainer, proxy: FaultyProxy) -> None:
    store = behind(proxy, container)
    run(put(store, IMAGE, LARGER))
    with container.server.connection() as swift:
        swift.post_object(container.name, IMAGE, {"X-Object-Meta-Other": "x"})
    proxy.plan(rf"^GET .*/{IMAGE}\?multipart-manifest=get", Answer(404))
    [nonce] = {name.split("/")[2] for name in segments(container, IMAGE)}
    with pytest.raises(Undecided):
        run(store.discard(f"swift+config://ref1/{container.name}/{Group(IMAGE, nonce).prefix}"))
    run(store.discard(f"swift+config://ref1/{container.name}/{Group(IMAGE, nonce).prefix}"))
    assert len(segments(container, IMAGE)) == 3
    with pytest.raises(NotFound):
        run(store.stat(Location(f"swift+config://ref1/{container.name}/other", "swift1")))
