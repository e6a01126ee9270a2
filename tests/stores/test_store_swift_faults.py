"""What becomes of a write when a real Swift server, or the way to it, fails: nothing is left, and the reason is told."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from faulty_proxy import Answer, Change, CutAnswer, CutRequest, FaultyProxy, Stall
from real_servers import SwiftContainer
from subject import IMAGE, OTHER, Subject, content, put, read_all, write_all
from swift_subject import SEGMENT_SIZE, segments, store_on, subject_on

from glance_stream import threads
from glance_stream.errors import Duplicate, StoreDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from glance_stream.retry import RetryPolicy
from glance_stream.stores.base import Writer
from glance_stream.stores.swift import SwiftStore

SEGMENT = rf"^PUT .*/{IMAGE}/"
MANIFEST = rf"^PUT .*/{IMAGE}\?"
DATA = content(2 * SEGMENT_SIZE + 5)
SOON = RetryPolicy(base=0.01, cap=0.05)


@pytest.fixture
def proxy(swift_container: SwiftContainer) -> Iterator[FaultyProxy]:
    parts = urlsplit(swift_container.server.auth_url)
    with FaultyProxy(f"http://{parts.netloc}") as proxy:
        yield proxy


def behind(proxy: FaultyProxy, container: SwiftContainer, **more: object) -> Subject:
    options = {"endpoint": f"{proxy.endpoint}/v1/AUTH_test", "policy": SOON, **more}
    return subject_on(container, store_on(container, **options))


def fails(subject: Subject, expected: type[StoreError], match: str | None = None, *, size_hint: int | None = len(DATA)) -> None:
    """The image can't be written, and nothing is left after the abort; another abort is fine."""

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, size_hint)
        try:
            with pytest.raises(expected, match=match):
                await transfer(writer)
        finally:
            await writer.abort()
            await writer.abort()

    run(scenario(), seconds=60)
    subject.assert_holds()
    assert threading.active_count() < 20


async def transfer(writer: Writer) -> None:
    await threads.call(write_all, writer, DATA)
    await writer.flush(len(DATA))
    await writer.commit(len(DATA), {})


def succeeds(subject: Subject) -> None:
    location = run(put(subject.store, IMAGE, DATA))
    assert read_all(subject.store.open_reader(location)) == DATA
    subject.assert_holds(IMAGE)


# -- before the first byte of a segment: nothing is lost ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 429, 498, 500, 503])
def test_a_segment_that_is_refused_for_now_is_offered_again(
    proxy: FaultyProxy, swift_container: SwiftContainer, status: int
) -> None:
    subject = behind(proxy, swift_container)
    proxy.plan(rf"{SEGMENT}.*/00002", Answer(status, {"Retry-After": "0"}, early=True))
    succeeds(subject)
    assert proxy.seen(rf"{SEGMENT}.*/00002") == 2


def test_a_connection_that_breaks_before_the_first_byte_is_made_again(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    subject = behind(proxy, swift_container)
    proxy.plan(SEGMENT, CutAnswer(0))
    succeeds(subject)


def test_what_a_cluster_asks_for_too_often_is_told(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    proxy.plan(SEGMENT, *[Answer(503, {"Retry-After": "0"}, early=True)] * 5)
    fails(behind(proxy, swift_container), StoreUnavailable, "status 503")


def test_a_server_that_does_not_know_expect_gets_the_body_all_the_same(
    proxy: FaultyProxy, swift_container: SwiftContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is the last one: the proxy keeps back the 100."""
    monkeypatch.setattr("glance_stream.stores.swift.upload.EXPECT_SECONDS", 0.1)
    subject = behind(proxy, swift_container, verify_etag=False)
    proxy.plan(SEGMENT, Answer(201, {"ETag": "a" * 32}))
    fails(subject, StoreError, "not in the container as they were written")


@pytest.mark.parametrize("when", ["before a segment", "before the commit"])
def test_tokens_that_end_are_renewed(swift_container: SwiftContainer, when: str) -> None:
    subject = subject_on(swift_container, store_on(swift_container, policy=SOON))

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA[:SEGMENT_SIZE])
        if when == "before a segment":
            swift_container.server.expire_tokens()
        write_all(writer, DATA[SEGMENT_SIZE:])
        await writer.flush(len(DATA))
        if when == "before the commit":
            swift_container.server.expire_tokens()
        location = await writer.commit(len(DATA), {})
        swift_container.server.expire_tokens()
        assert (await subject.store.stat(location)).size == len(DATA)

    run(scenario())
    subject.assert_holds(IMAGE)


# -- in the middle of a segment: its bytes are gone -----------------------------------------------------------------------------


@pytest.mark.parametrize("size_hint", [len(DATA), None], ids=["announced", "chunked"])
def test_a_reset_in_mid_segment(proxy: FaultyProxy, swift_container: SwiftContainer, size_hint: int | None) -> None:
    proxy.plan(rf"{SEGMENT}.*/00002", CutRequest(after=100))
    fails(behind(proxy, swift_container), StoreUnavailable, size_hint=size_hint)


@pytest.mark.parametrize("after", [100, SEGMENT_SIZE], ids=["in the middle", "after the last byte"])
def test_a_server_that_falls_silent(proxy: FaultyProxy, swift_container: SwiftContainer, after: int) -> None:
    """In the middle, what fits into the sockets' buffers is still taken: it is the answer that does not come."""
    proxy.plan(rf"{SEGMENT}.*/00002", Stall(after=after))
    fails(behind(proxy, swift_container, read_timeout=1), StoreTimeout)


def test_a_segment_whose_answer_was_lost_is_removed(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    """The cluster has stored it, and nobody was told."""
    subject = behind(proxy, swift_container)
    proxy.plan(rf"{SEGMENT}.*/00002", CutAnswer(after=len(b"HTTP/1.1 100 Continue\r\n\r\n") + 1))
    fails(subject, StoreUnavailable)


def test_a_changed_byte_is_found(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    """By default, since the storage URL is plain http."""
    proxy.plan(rf"{SEGMENT}.*/00002", Change(at=7))
    fails(behind(proxy, swift_container), StoreError, "other bytes than were sent")


def test_verifying_is_no_obstacle(swift_container: SwiftContainer) -> None:
    succeeds(subject_on(swift_container, store_on(swift_container, verify_etag=True)))


@pytest.mark.parametrize("server", ["swift_container", "radosgw_container"])
@pytest.mark.parametrize(("size_hint", "written"), [(len(DATA), 100), (None, SEGMENT_SIZE + 100)], ids=["announced", "chunked"])
def test_a_source_that_fails_never_looks_like_the_end(
    request: pytest.FixtureRequest, server: str, size_hint: int | None, written: int
) -> None:
    """The segment under way is not stored, although the connection has ended: looked for while it could still come."""
    container: SwiftContainer = request.getfixturevalue(server)
    subject = subject_on(container)

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, size_hint)
        write_all(writer, DATA[:written])
        monitor = [name for name in container.objects() if name.endswith("00002" if written > 100 else "00001")]
        assert monitor == []
        upload = writer._upload  # type: ignore[attr-defined]
        upload.cut()
        await asyncio.sleep(0.3)
        assert len(segments(container, IMAGE)) == written // SEGMENT_SIZE
        await writer.abort()

    run(scenario())
    subject.assert_holds()


def test_a_process_that_is_killed_leaves_what_its_trace_names(swift_container: SwiftContainer) -> None:
    store = store_on(swift_container)
    server = swift_container.server
    script = f"""
import asyncio, os, signal
from glance_stream.stores.swift import SwiftOptions, SwiftStore
options = SwiftOptions(auth_url={server.auth_url!r}, auth_version="1", user={server.user!r}, key={server.key!r},
    container={swift_container.name!r}, segment_size={SEGMENT_SIZE})
async def main():
    writer = SwiftStore("swift1", options).writer({IMAGE!r})
    print(writer.trace, flush=True)
    await writer.open(None)
    writer.write(memoryview(bytes({2 * SEGMENT_SIZE + 100})))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    trace = done.stdout.strip()
    assert len(segments(swift_container, IMAGE)) == 2
    strays = run(store.strays())
    assert [(stray.trace, stray.image_id, stray.size) for stray in strays] == [(trace, IMAGE, 2 * SEGMENT_SIZE)]
    run(store.discard(trace))
    assert swift_container.objects() == {}


# -- the commit -----------------------------------------------------------------------------------------------------------------


def test_a_commit_whose_answer_was_lost_is_found_out(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    subject = behind(proxy, swift_container)
    proxy.plan(MANIFEST, CutAnswer(0))
    succeeds(subject)
    assert proxy.seen(MANIFEST) == 1


@pytest.mark.parametrize("fault", [CutRequest(0), Answer(503)], ids=["cut", "busy"])
def test_a_commit_that_did_not_arrive_is_done_again(
    proxy: FaultyProxy, swift_container: SwiftContainer, fault: CutRequest | Answer
) -> None:
    subject = behind(proxy, swift_container)
    proxy.plan(MANIFEST, fault)
    succeeds(subject)
    assert proxy.seen(MANIFEST) == 2


def test_a_commit_that_never_arrives(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    proxy.plan(MANIFEST, *[Answer(503)] * 5)
    fails(behind(proxy, swift_container), StoreUnavailable, "status 503")


def test_a_lost_segment_is_noticed_by_the_commit(swift_container: SwiftContainer) -> None:
    subject = subject_on(swift_container)

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        lost = segments(swift_container, IMAGE)[1]
        swift_container.write(lost, bytes(SEGMENT_SIZE))  # as long, with other bytes
        with pytest.raises(StoreError, match="as they were written"):
            await writer.commit(len(DATA), {})
        await writer.abort()

    run(scenario())
    subject.assert_holds()


def test_another_image_that_came_first_is_left_alone(swift_container: SwiftContainer) -> None:
    subject = subject_on(swift_container)

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        swift_container.write(IMAGE, b"another's")
        with pytest.raises(Duplicate):
            await writer.commit(len(DATA), {})
        await writer.abort()

    run(scenario())
    assert swift_container.objects() == {IMAGE: 9}


# -- refusals -------------------------------------------------------------------------------------------------------------------


def test_a_quota_is_looked_at_first(swift_container: SwiftContainer) -> None:
    quota(swift_container, len(DATA) - 1)
    store = store_on(swift_container)
    assert run(store.free_space()) == len(DATA) - 1
    with pytest.raises(StoreFull):
        run(store.open_writer(IMAGE, len(DATA)))
    assert swift_container.objects() == {}


def test_a_quota_holds_for_an_image_of_unknown_size(swift_container: SwiftContainer) -> None:
    """The cluster does not keep to it then."""
    quota(swift_container, SEGMENT_SIZE)
    fails(subject_on(swift_container), StoreFull, "quota", size_hint=None)


def test_a_quota_that_is_set_meanwhile(swift_container: SwiftContainer) -> None:
    subject = subject_on(swift_container)

    async def scenario() -> None:
        writer = await subject.store.open_writer(IMAGE, len(DATA))
        quota(swift_container, SEGMENT_SIZE // 2)
        with pytest.raises(StoreFull, match="status 413"):
            write_all(writer, DATA)
        await writer.abort()

    run(scenario())
    subject.assert_holds()


def quota(container: SwiftContainer, size: int) -> None:
    with container.server.connection() as swift:
        swift.post_container(container.name, {"X-Container-Meta-Quota-Bytes": str(size)})


def test_a_container_that_is_deleted_meanwhile(swift_container: SwiftContainer) -> None:
    store = store_on(swift_container)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        swift_container.server.delete_container(swift_container.name)
        with pytest.raises(StoreError, match="container"):
            write_all(writer, DATA)
        await writer.abort()
        with pytest.raises(StoreUnavailable, match="container"):
            await store.find(IMAGE)
        assert await store.strays() == []

    run(scenario())
    swift_container.server.make_container(swift_container.name)  # for the fixture to delete


def test_a_container_is_made_on_request_only(swift_container: SwiftContainer) -> None:
    swift_container.server.delete_container(swift_container.name)
    with pytest.raises(StoreUnavailable, match="is not there") as caught:
        run(store_on(swift_container).open())
    assert not caught.value.retryable
    store = store_on(swift_container, create_container=True)
    assert run(store.find(IMAGE)) is None
    assert read_all(store.open_reader(run(put(store, IMAGE, b"abc")))) == b"abc"


def test_a_wrong_key_is_refused_and_not_shown(swift_container: SwiftContainer) -> None:
    store = store_on(swift_container, key="geheim4711")
    for refused in (store.open(), store.open_writer(IMAGE, 3), store.find(IMAGE), store.strays()):
        with pytest.raises(StoreDenied) as caught:
            run(refused)
        assert "geheim4711" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_a_user_who_may_only_read(swift_container: SwiftContainer) -> None:
    with swift_container.server.connection() as swift:
        swift.post_container(swift_container.name, {"X-Container-Read": "test:reader,.rlistings"})
    store = store_on(swift_container, user="test:reader", key="reading")

    with pytest.raises(StoreDenied):
        run(put(store, IMAGE, b"abc"))
    assert swift_container.objects() == {}


def test_a_user_who_may_read_objects_and_nothing_else(swift_container: SwiftContainer) -> None:
    location = run(put(store_on(swift_container), IMAGE, DATA))
    with swift_container.server.connection() as swift:
        swift.post_container(swift_container.name, {"X-Container-Read": ".r:*"})
    store = store_on(swift_container, read_only=True, user="test:reader", key="reading")
    run(store.open())
    assert read_all(store.open_reader(location)) == DATA
    assert run(store.find(OTHER)) is None
    with pytest.raises(StoreDenied):
        run(store_on(swift_container, user="test:reader", key="reading").open())


def test_nobody_listens(swift_container: SwiftContainer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for more in ({"auth_url": f"http://127.0.0.1:{port}/auth/v1.0"}, {"endpoint": f"http://127.0.0.1:{port}/v1/AUTH_test"}):
        store: SwiftStore = store_on(swift_container, policy=SOON, **more)
        with pytest.raises(StoreUnavailable, match="refused"):
            run(store.find(IMAGE))
        with pytest.raises(StoreUnavailable, match="refused"):
            run(store.open_writer(IMAGE, 3))


# -- giving up ------------------------------------------------------------------------------------------------------------------


def test_an_abort_ends_a_write_that_hangs(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    subject = behind(proxy, swift_container, segment_size=64 << 20, read_timeout=60)
    proxy.plan(SEGMENT, Stall(after=100))

    async def scenario() -> float:
        writer = await subject.store.open_writer(IMAGE, None)
        outcome: list[BaseException] = []
        thread = threading.Thread(target=_write_much, args=(writer, outcome), daemon=True)
        thread.start()
        await threads.call(thread.join, 1)
        assert thread.is_alive()
        begun = time.monotonic()
        await writer.abort()
        took = time.monotonic() - begun
        thread.join(5)
        assert not thread.is_alive()
        assert isinstance(outcome[0], StoreError)
        return took

    assert run(scenario()) < 20  # and not the 60 s of its time limit
    subject.assert_holds()


def _write_much(writer: Writer, outcome: list[BaseException]) -> None:
    try:
        writer.write(memoryview(bytes(48 << 20)))  # more than the buffers of two connections hold
    except StoreError as error:
        outcome.append(error)
