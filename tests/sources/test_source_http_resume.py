"""Resuming a broken body: exact or not at all."""

import pytest
from bad_server import DATE, MODIFIED, answer, read_all, serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glance_stream.errors import SourceError
from glance_stream.sources.http import HttpLimits

CONTENT = bytes(range(256)) * 4000
OTHER = CONTENT[::-1]

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
def test_goes_on_at_the_exact_byte(server, source, how: str) -> None:
    web = server(serve(CONTENT, stop=300_001, how=how), serve(CONTENT, stop=1, how=how), serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
    starts = [request.start for request in web.requests]
    assert starts[0] == 0
    assert starts[1:] == sorted(starts[1:])
    assert starts[-1] <= 300_002
    assert [request.headers.get("if-range") for request in web.requests] == [None, '"v1"', '"v1"']


def test_many_breaks_with_progress_are_no_failure(server, source) -> None:
    web = server(*[serve(CONTENT[:1000], stop=50)] * 25)
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT[:1000]
    assert len(web.requests) > 10  # far more than the tries allowed without progress


def test_breaks_without_progress_end(server, source) -> None:
    web = server(serve(CONTENT, stop=1000), serve(CONTENT, stop=0))
    image = source(web.url)
    image.open()
    with pytest.raises(SourceError, match="at byte 1000; gave up after 3 tries") as caught:
        read_all(image)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "second",
    [
        serve(OTHER, etag='"v2"'),
        serve(OTHER, etag='"v2"', ranges=False),
        serve(CONTENT, etag=None),
        serve(CONTENT, etag=None, ranges=False),
        serve(CONTENT, etag='W/"v1"'),
        serve(CONTENT, content_range="bytes 0-1023999/1024000"),
        serve(CONTENT, content_range="bytes 1001-1023999/1024000"),
        serve(CONTENT, content_range="bytes 999-1023998/1024000"),  # as long as what was asked for
        serve(CONTENT, content_range="bytes 0-1022999/1024000"),
        serve(CONTENT, content_range="bytes 1000-1023999/1024001"),
        serve(CONTENT, content_range="bytes 1000-1023998/1024000"),
        serve(CONTENT, content_range="bytes 1000-1024000/1024000"),
        serve(CONTENT, content_range="bytes 1000-1000/*"),
        serve(CONTENT, content_range="bytes */1024000"),
        serve(CONTENT, content_range="nonsense"),
        serve(CONTENT, content_range=None),
        serve(CONTENT, content_type="multipart/byteranges", content_range=None),
        serve(CONTENT, content_encoding="gzip"),
        serve(CONTENT + b"x", ranges=False),
        answer(416, Content_Range="bytes */500", ETag='"v2"'),
        answer(416, Content_Range="bytes */1000", ETag='"v1"'),
        answer(416),
        answer(404),
        answer(403),
    ],
)
def test_never_spliced(server, source, second) -> None:
    web = server(serve(CONTENT, stop=1000), second)
    image = source(web.url)
    image.open()
    view = memoryview(bytearray(2000))
    assert image.readinto(view) == 1000
    assert view[:1000] == CONTENT[:1000]
    with pytest.raises(SourceError):
        image.readinto(view)
    assert len(web.requests) == 2


def test_changed_content_says_so(server, source) -> None:
    image = source(server(serve(CONTENT, stop=1000), serve(OTHER, etag='"v2"', ranges=False)).url)
    image.open()
    with pytest.raises(SourceError, match="the image changed on the server"):
        read_all(image)


def test_unknown_total_is_accepted_when_the_range_reaches_the_end(server, source) -> None:
    web = server(serve(CONTENT, stop=1000), serve(CONTENT, content_range=f"bytes 1000-{len(CONTENT) - 1}/*"))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT


def test_a_shorter_piece_than_asked_for_is_followed_by_the_next(server, source) -> None:
    short = serve(CONTENT[:50], content_range="bytes 20-49/100")
    web = server(serve(CONTENT[:100], stop=20), short, serve(CONTENT[:100]))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT[:100]
    assert [request.start for request in web.requests] == [0, 20, 50]


def test_whole_object_in_place_of_the_rest_is_discarded_up_to_here_once(server, source) -> None:
    web = server(serve(CONTENT, stop=200_000), serve(CONTENT, ranges=False))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
    assert len(web.requests) == 2


def test_discarding_twice_is_refused(server, source) -> None:
    web = server(serve(CONTENT, stop=200_000), serve(CONTENT, stop=300_000, ranges=False), serve(CONTENT, ranges=False))
    image = source(web.url)
    image.open()
    with pytest.raises(SourceError, match="server can't resume"):
        read_all(image)


def test_a_break_while_discarding_is_one_more_try(server, source) -> None:
    web = server(serve(CONTENT, stop=200_000), serve(CONTENT, stop=100, ranges=False), serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "unquoted"])
def test_without_a_strong_validator_there_is_no_resume(server, source, etag: str | None) -> None:
    web = server(serve(CONTENT, stop=1000, etag=etag))
    image = source(web.url)
    assert image.open().validator is None
    with pytest.raises(SourceError, match="no strong ETag or Last-Modified"):
        read_all(image)
    assert len(web.requests) == 1


def test_before_the_first_byte_no_validator_is_needed(server, source) -> None:
    image = source(server(serve(CONTENT, stop=0, etag=None), serve(CONTENT, etag=None)).url)
    image.open()
    assert read_all(image) == CONTENT


@pytest.mark.parametrize("second", [serve(CONTENT[1:]), serve(CONTENT, etag='"v2"')])
def test_a_second_beginning_must_announce_the_same(server, source, second) -> None:
    image = source(server(serve(CONTENT, stop=0), second).url)
    image.open()
    with pytest.raises(SourceError, match="changed"):
        read_all(image)


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_last_modified_serves_where_there_is_no_strong_etag(server, source, etag: str | None) -> None:
    web = server(serve(CONTENT, stop=1000, etag=etag, last_modified=MODIFIED), serve(CONTENT, etag=etag, last_modified=MODIFIED))
    image = source(web.url)
    assert image.open().validator == MODIFIED
    assert read_all(image) == CONTENT
    assert web.requests[1].headers["if-range"] == MODIFIED


def test_last_modified_within_the_second_of_the_answer_is_weak(server, source) -> None:
    image = source(server(serve(CONTENT, stop=1000, etag=None, last_modified=DATE)).url)
    assert image.open().validator is None


def test_a_contradicting_weak_etag_is_a_change(server, source) -> None:
    first = serve(CONTENT, stop=1000, etag='W/"v1"', last_modified=MODIFIED)
    image = source(server(first, serve(CONTENT, etag='W/"v2"', last_modified=MODIFIED)).url)
    image.open()
    with pytest.raises(SourceError, match="changed"):
        read_all(image)


def test_chunked_body_broken_off_is_resumed_and_learns_its_size(server, source) -> None:
    web = server(serve(CONTENT, stop=5000, chunked=1000), serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT


def test_chunked_body_broken_off_without_validator_is_an_error(server, source) -> None:
    image = source(server(serve(CONTENT, stop=5000, chunked=1000, etag=None)).url)
    image.open()
    with pytest.raises(SourceError, match="broke at byte 5000"):
        read_all(image)


def test_chunked_body_that_lost_only_its_end_mark(server, source) -> None:
    web = server(serve(b"x" * 5000, stop=5000, chunked=1000), answer(416, Content_Range="bytes */5000", ETag='"v1"'))
    web.acts = (lambda request, peer: serve(b"x" * 6000, stop=5000, chunked=1000)(request, peer), web.acts[1])
    image = source(web.url)
    image.open()
    assert read_all(image) == b"x" * 5000


def test_resume_meets_trouble_that_passes(server, source) -> None:
    web = server(serve(CONTENT, stop=1000), answer(503), serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT


breaks = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["close", "reset"]),
        st.booleans(),
        st.sampled_from(['"v1"', '"v1"', '"v1"', '"v2"', 'W/"v1"', None]),
        st.sampled_from([0, 0, 64]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=breaks, slices=st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_exactly_the_bytes_or_an_error(server, source, breaks, slices) -> None:
    """A changed ETag comes with other content, as it does in life: a splice would show."""
    content, changed = CONTENT[:1000], OTHER[:1000]
    acts = [
        serve(changed if etag == '"v2"' else content, stop=stop, how=how, ranges=ranges, etag=etag, chunked=chunked)
        for stop, how, ranges, etag, chunked in breaks
    ]
    truth = changed if breaks[0][3] == '"v2"' else content
    image = source(server(*acts, serve(content)).url, limits=HttpLimits(tries=4, idle_seconds=2))
    out = bytearray()
    try:
        image.open()
        for turn in range(5000):
            view = memoryview(bytearray(slices[turn % len(slices)]))
            count = image.readinto(view)
            out += view[:count]
            if not count:
                break
        assert bytes(out) == truth
    except SourceError:
        assert truth.startswith(bytes(out))
    finally:
        image.close()
