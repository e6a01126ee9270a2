"""The read-only store over HTTP, against the standard library's server."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from glance_stream.errors import (
    InvalidRequest,
    NotFound,
    SourceError,
    StoreDenied,
    StoreError,
    StoreReadOnly,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.model import Location
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.stores import build
from glance_stream.stores.http import HttpStore

CONTENT = bytes(range(256)) * 100
LIMITS = HttpLimits(connect_seconds=2, idle_seconds=0.3, end_seconds=0.2)

pytestmark = pytest.mark.timeout(60)


class Web(ThreadingHTTPServer):
    """``head`` and ``get``: the status of either, 0 for silence; each may be told to leave out its length."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.head, self.get = 200, 200
        self.lengths = {"HEAD", "GET"}
        self.content = CONTENT
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/images"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_HEAD(self) -> None:
        self.reply(self.server.head)

    def do_GET(self) -> None:
        self.reply(self.server.get)

    def reply(self, status: int) -> None:
        self.server.seen.append((self.command, {name.lower(): value for name, value in self.headers.items()}))
        if not status:
            time.sleep(0.6)
            return
        body = self.server.content if status in (200, 206) else b""
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes 0-0/{len(body)}")
            body = body[:1]
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(self.server.content)}")
        if self.command in self.server.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield web
        web.shutdown()
        thread.join()


@pytest.fixture
def store(web: Web) -> HttpStore:
    return HttpStore("web", web.url, limits=LIMITS)


def stat(store: HttpStore, url: str) -> int:
    return asyncio.run(store.stat(Location(url, store.store_id))).size


def test_it_can_only_be_read(store: HttpStore, web: Web) -> None:
    assert store.traits.read_only
    location = Location(f"{web.url}/a", "web")
    with pytest.raises(StoreReadOnly):
        store.writer("id")
    for call in (store.open_writer("id", None), store.delete(location)):
        with pytest.raises(StoreReadOnly):
            asyncio.run(call)
    asyncio.run(store.discard("any trace"))
    asyncio.run(store.close())
    assert not web.seen


def test_reader(store: HttpStore, web: Web) -> None:
    source = store.open_reader(Location(f"{web.url}/a", "web"))
    assert source.open().size == len(CONTENT)
    view = memoryview(bytearray(len(CONTENT) + 1))
    out = bytearray()
    while count := source.readinto(view):
        out += view[:count]
    source.close()
    assert out == CONTENT


def test_reader_of_a_missing_object_fails_when_opened(store: HttpStore, web: Web) -> None:
    web.get = 404
    source = store.open_reader(Location(f"{web.url}/a", "web"))
    with pytest.raises(NotFound, match="not found"):
        source.open()
    source.close()


def test_stat_asks_for_the_head_only(store: HttpStore, web: Web) -> None:
    assert stat(store, f"{web.url}/a") == len(CONTENT)
    assert [method for method, _ in web.seen] == ["HEAD"]


@pytest.mark.parametrize("head", [403, 405, 501, 200])
@pytest.mark.parametrize("get", [206, 200])
def test_stat_where_head_is_refused_or_says_nothing(store: HttpStore, web: Web, head: int, get: int) -> None:
    web.head, web.get = head, get
    web.lengths.remove("HEAD")
    assert stat(store, f"{web.url}/a") == len(CONTENT)
    assert web.seen[1][0] == "GET"
    assert web.seen[1][1]["range"] == "bytes=0-0"


def test_stat_of_an_empty_object_by_range(store: HttpStore, web: Web) -> None:
    web.head, web.get, web.content = 405, 416, b""
    assert stat(store, f"{web.url}/a") == 0


@pytest.mark.parametrize(
    ("head", "get", "error"),
    [
        (404, 200, NotFound),
        (410, 200, NotFound),
        (405, 404, NotFound),
        (401, 200, StoreDenied),
        (403, 403, StoreDenied),
        (503, 200, StoreUnavailable),
        (405, 500, StoreUnavailable),
        (429, 200, StoreUnavailable),
        (0, 200, StoreTimeout),
        (400, 200, StoreError),
        (302, 200, StoreError),
    ],
)
def test_stat_errors(store: HttpStore, web: Web, head: int, get: int, error: type[StoreError]) -> None:
    web.head, web.get = head, get
    with pytest.raises(error) as caught:
        stat(store, f"{web.url}/a?sig=SECRET")
    assert type(caught.value) is error
    assert caught.value.store_id == "web"
    assert "SECRET" not in str(caught.value)


def test_stat_without_any_size(store: HttpStore, web: Web) -> None:
    web.lengths.clear()
    with pytest.raises(StoreError, match="no Content-Length"):
        stat(store, f"{web.url}/a")


def test_stat_where_nobody_listens() -> None:
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        stat(HttpStore("web", limits=LIMITS), "http://127.0.0.1:1/a")


def test_stat_leaves_the_loop_free_and_can_be_cancelled(store: HttpStore, web: Web) -> None:
    web.head = 0

    async def run() -> None:
        async with asyncio.timeout(0.1):
            await store.stat(Location(f"{web.url}/a", "web"))

    start = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert time.monotonic() - start < 0.25


def test_find(store: HttpStore, web: Web) -> None:
    assert asyncio.run(store.find("an id")) == Location(f"{web.url}/an%20id", "web")
    web.head = 404
    assert asyncio.run(store.find("an id")) is None
    assert asyncio.run(HttpStore("any").find("an id")) is None


@pytest.mark.parametrize(
    ("base", "url", "owned"),
    [
        (None, "http://h/a", True),
        (None, "https://h/", True),
        (None, "file:///a", False),
        (None, "s3://b/a", False),
        (None, "http://", False),
        ("http://h/images", "http://h/images/a", True),
        ("http://h/images/", "HTTP://H:80/images/a/b", True),
        ("http://h/im ages", "http://h/im%20ages/a", True),
        ("http://h", "http://h/a?b=c", True),
        ("http://h", "http://h/", False),
        ("http://h/images", "http://h/images", False),
        ("http://h/images", "http://h/images2/a", False),
        ("http://h/images", "http://h/imagesa", False),
        ("http://h/images", "http://h.evil/images/a", False),
        ("http://h/images", "http://h@evil/images/a", False),
        ("http://h/images", "https://h/images/a", False),
        ("http://h/images", "http://h:81/images/a", False),
        ("http://h/images", "http://h/images/../secret", False),
        ("http://h/images", "http://h/images/%2E%2e/secret", False),
        ("http://h/images", "http://h/images/a%2F..%2F..%2Fsecret", False),
        ("http://h/images", "http://h/images//a", False),
    ],
)
def test_owns(base: str | None, url: str, owned: bool) -> None:
    store = HttpStore("web", base)
    assert store.owns(url) is owned
    if not owned:
        with pytest.raises(StoreError):
            store.open_reader(Location(url, "web"))


def test_credentials_of_the_store_are_sent_and_not_shown(web: Web) -> None:
    store = HttpStore("web", web.url.replace("//", "//user:hunter2@"), headers={"X-Auth-Token": "TOKEN"}, limits=LIMITS)
    assert "hunter2" not in store.where
    found = asyncio.run(store.find("a"))
    assert found == Location(f"{web.url}/a", "web")
    source = store.open_reader(found)
    source.open()
    source.close()
    for _, headers in web.seen:
        assert headers["authorization"].startswith("Basic ")
        assert headers["x-auth-token"] == "TOKEN"


def test_configuration_that_would_leak_or_mislead_is_refused() -> None:
    for url, headers in ((None, {"Cookie": "a"}), ("ftp://h/", {}), ("http://h/?a", {}), ("http://h/", {"Range": "a"})):
        with pytest.raises(InvalidRequest):
            HttpStore("web", url, headers=headers)


def test_built_from_the_configuration() -> None:
    settings = SimpleNamespace(type="http", read_only=False, options={"url": "https://h/images", "ca": "/ca.pem"})
    store = build("web", settings)
    assert isinstance(store, HttpStore)
    assert store.traits.read_only
    assert store.where == "https://h/images"


def test_its_own_time_limits(web: Web) -> None:
    """The defaults would wait a minute for an answer, six times: longer than this test may take."""
    options = {"url": web.url, "connect_timeout": 2, "read_timeout": 0.2, "total_timeout": 5, "tries": 2}
    store = build("web", SimpleNamespace(type="http", read_only=False, options=options))
    web.head = web.get = 0
    location = Location(f"{web.url}/i", "web")
    with pytest.raises(StoreTimeout):
        asyncio.run(store.stat(location))
    source = store.open_reader(location)
    with pytest.raises(SourceError, match="gave up after 2 tries"):
        source.open()
    source.close()


@pytest.mark.parametrize("option", ["connect_timeout", "read_timeout", "total_timeout", "tries"])
def test_a_limit_of_nothing_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequest, match=option):
        build("web", SimpleNamespace(type="http", read_only=False, options={option: 0}))
