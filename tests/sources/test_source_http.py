"""HttpSource against one answer: what is accepted, what is refused, and how waits end."""

import threading
import time

import pytest
from bad_server import answer, raw, read_all, serve, silent

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.http import HttpLimits

CONTENT = bytes(range(256)) * 4000

pytestmark = pytest.mark.timeout(60)


def test_reads_the_object(server, source) -> None:
    web = server(serve(CONTENT))
    image = source(web.url)
    info = image.open()
    assert (info.size, info.validator) == (len(CONTENT), '"v1"')
    assert read_all(image, 1000) == CONTENT
    assert image.readinto(memoryview(bytearray(1))) == 0
    image.verify_unchanged()
    assert image.fileno() is None
    assert web.requests[0].headers["accept-encoding"] == "identity"
    assert len(web.requests) == 1


@pytest.mark.parametrize("chunk", [1, 1000, 100_000])
def test_chunked_body_has_no_size(server, source, chunk: int) -> None:
    image = source(server(serve(CONTENT[:50_000], chunked=chunk)).url)
    assert image.open().size is None
    assert read_all(image) == CONTENT[:50_000]


def test_empty_object(server, source) -> None:
    image = source(server(serve(b"")).url)
    assert image.open().size == 0
    assert read_all(image) == b""


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (answer(404), "not found"),
        (answer(410), "not found"),
        (answer(401), "access denied"),
        (answer(403), "access denied"),
        (answer(400), "status 400"),
        (answer(204), "status 204"),
        (answer(304), "status 304"),
        (serve(CONTENT, status=206), "status 206"),
        (answer(300), "status 300"),
    ],
)
def test_refusals_are_not_retried(server, source, act, reason: str) -> None:
    web = server(act)
    with pytest.raises(SourceError, match=reason) as caught:
        source(web.url).open()
    assert not caught.value.retryable
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"content_encoding": "gzip"}, "Content-Encoding 'gzip' though identity was asked"),
        ({"content_encoding": "IDENTITY, br"}, "though identity was asked"),
        ({"transfer_encoding": "gzip, chunked"}, "Transfer-Encoding"),
        ({"content_length": None}, "no Content-Length and no chunked"),
        ({"content_length": "-5"}, "malformed Content-Length"),
        ({"content_length": "1_0"}, "malformed Content-Length"),
        ({"content_length": "9" * 30}, "malformed Content-Length"),
    ],
)
def test_bodies_without_a_certain_meaning_are_refused(server, source, headers, reason: str) -> None:
    web = server(serve(CONTENT, **headers))
    with pytest.raises(SourceError, match=reason):
        source(web.url).open()
    assert len(web.requests) == 1


def test_identity_content_encoding_is_fine(server, source) -> None:
    image = source(server(serve(CONTENT, content_encoding="identity")).url)
    image.open()
    assert read_all(image) == CONTENT


@pytest.mark.parametrize("small", [True, False])
def test_more_bytes_than_announced_are_an_error(server, source, small: bool) -> None:
    content = CONTENT[:100] if small else CONTENT
    image = source(server(serve(content, content_length=str(len(content) - 1))).url)
    image.open()
    with pytest.raises(SourceError, match=f"more than the {len(content) - 1} bytes"):
        read_all(image)


def test_a_server_that_keeps_the_connection_open_costs_the_end_limit_only(server, source) -> None:
    image = source(server(serve(CONTENT), answer(404)).url)
    web = server(lambda request, peer: (serve(CONTENT)(request, peer), time.sleep(0.5)))
    image = source(web.url)
    image.open()
    start = time.monotonic()
    assert read_all(image) == CONTENT
    assert time.monotonic() - start < 0.45


@pytest.mark.parametrize(
    "act", [answer(503, Retry_After="2"), answer(429), answer(408), answer(500), silent, raw(b"nonsense\r\n\r\n")]
)
def test_what_may_pass_is_retried(server, source, pauses: list[float], act) -> None:
    web = server(act, serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
    assert len(pauses) == 1


def test_retries_end(server, source, pauses: list[float]) -> None:
    web = server(answer(503))
    with pytest.raises(SourceError, match="status 503 at byte 0; gave up after 3 tries") as caught:
        source(web.url).open()
    assert caught.value.retryable
    assert len(web.requests) == 3
    assert len(pauses) == 2


def test_silence_is_called_a_time_out(server, source) -> None:
    with pytest.raises(SourceError, match="timed out"):
        source(server(silent).url).open()


def test_nobody_listens(server, source) -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        source("http://127.0.0.1:1/").open()


def test_retry_after_is_honoured_and_bounded(server, source, pauses: list[float]) -> None:
    limits = HttpLimits(tries=4, backoff_seconds=0, retry_after_most_seconds=7)
    future = "Fri, 01 Jan 2100 00:00:00 GMT"
    acts = (answer(503, Retry_After="2"), answer(503, Retry_After="3600"), answer(503, Retry_After=future), serve(CONTENT))
    source(server(*acts).url, limits=limits).open()
    assert pauses == [2, 7, 7]


def test_backoff_grows_with_full_jitter_and_a_ceiling() -> None:
    limits = HttpLimits(backoff_seconds=1, backoff_most_seconds=8)
    for tries, most in ((1, 1), (2, 2), (4, 8), (50, 8)):
        delays = [limits.delay(tries, None) for _ in range(200)]
        assert 0 <= min(delays) < most / 2 < max(delays) <= most


def test_the_total_limit_ends_a_trickle(server, source) -> None:
    def trickle(request, peer) -> None:
        serve(CONTENT, stop=1)(request, peer)
        for _ in range(50):
            time.sleep(0.02)
            peer.sendall(b"x")

    image = source(server(trickle).url, limits=HttpLimits(total_seconds=0.2))
    image.open()
    with pytest.raises(SourceError, match="not complete after"):
        read_all(image)


def test_headers_that_trickle_in_meet_a_limit(server, source) -> None:
    def trickle(request, peer) -> None:
        for _ in range(60):
            peer.sendall(b"H")
            time.sleep(0.02)

    limits = HttpLimits(connect_seconds=0.1, idle_seconds=0.1, tries=1)
    start = time.monotonic()
    with pytest.raises(SourceError):
        source(server(trickle).url, limits=limits).open()
    assert time.monotonic() - start < 0.8


@pytest.mark.parametrize("act", [serve(CONTENT, stop=10, how="stall"), silent, answer(503)], ids=["body", "headers", "pause"])
def test_interrupt_from_another_thread(server, source, act) -> None:
    image = source(server(act).url, limits=HttpLimits(backoff_seconds=1000, backoff_most_seconds=1000), pause=None)
    timer = threading.Timer(0.1, lambda: (image.interrupt(), image.interrupt()))
    timer.start()
    start = time.monotonic()
    with pytest.raises(SourceError, match="interrupted"):
        (image.open(), read_all(image))
    assert time.monotonic() - start < 0.4
    timer.join()


def test_interrupted_or_closed_source_connects_no_more(server, source) -> None:
    web = server(serve(CONTENT))
    image = source(web.url)
    with pytest.raises(SourceError, match="not open"):
        read_all(image)
    image.interrupt()
    with pytest.raises(SourceError, match="interrupted"):
        image.open()
    image.close()
    image.close()
    image.interrupt()
    with pytest.raises(SourceError):
        read_all(image)
    assert not web.requests


@pytest.mark.parametrize(
    "headers", [{"Range": "bytes=0-"}, {"accept-encoding": "gzip"}, {"X": "a\r\nY: b"}, {"X:": "a"}, {"": "a"}]
)
def test_headers_that_would_break_the_transfer_are_refused(source, headers) -> None:
    with pytest.raises(InvalidRequest):
        source("http://host/", headers=headers)
