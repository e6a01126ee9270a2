"""Reading from a real Swift server that fails on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from faulty_proxy import Answer, CutAnswer, FaultyProxy, Stall
from real_servers import SwiftContainer
from subject import IMAGE, content, put, read_all, read_some
from swift_subject import SEGMENT_SIZE, segments, store_on

from glance_stream.errors import NotFound, ObjectDamaged, SourceError
from glance_stream.model import Location
from glance_stream.sources.base import Source

DATA = content(2 * SEGMENT_SIZE + 5)
READING = rf"^GET .*/{IMAGE}$"


@pytest.fixture
def proxy(swift_container: SwiftContainer) -> Iterator[FaultyProxy]:
    with FaultyProxy(f"http://{urlsplit(swift_container.server.auth_url).netloc}") as proxy:
        yield proxy


@pytest.fixture
def location(swift_container: SwiftContainer) -> Location:
    return run(put(store_on(swift_container), IMAGE, DATA))


@pytest.fixture
def source(proxy: FaultyProxy, swift_container: SwiftContainer, location: Location) -> Iterator[Source]:
    source = store_on(swift_container, endpoint=f"{proxy.endpoint}/v1/AUTH_test", read_timeout=2).open_reader(location)
    yield source
    source.close()


def test_a_broken_answer_is_resumed_where_it_broke(proxy: FaultyProxy, source: Source) -> None:
    proxy.plan(READING, CutAnswer(after=5000), CutAnswer(after=SEGMENT_SIZE))
    assert read_all(source) == DATA
    assert proxy.seen(READING) == 3


@pytest.mark.parametrize("fault", [Answer(401), Answer(503, {"Retry-After": "0"})])
def test_a_resume_that_is_refused_for_now_is_tried_again(proxy: FaultyProxy, source: Source, fault: Answer) -> None:
    proxy.plan(READING, CutAnswer(after=5000), fault)
    assert read_all(source) == DATA


def test_what_breaks_again_and_again_is_no_short_image(proxy: FaultyProxy, source: Source) -> None:
    proxy.plan(READING, CutAnswer(after=5000), *[CutAnswer(0)] * 10)
    with pytest.raises(SourceError):
        read_all(source)


def test_an_image_that_changed_is_not_spliced(proxy: FaultyProxy, source: Source, swift_container: SwiftContainer) -> None:
    source.open()
    assert read_some(source, 10) == DATA[:10]
    swift_container.write(IMAGE, content(len(DATA), seed=2))
    with pytest.raises(SourceError, match="changed"):
        source.reopen(10)


def test_a_plain_object_is_resumed_at_once(proxy: FaultyProxy, swift_container: SwiftContainer) -> None:
    """Swift's ETag of a plain object has no quotes, and Last-Modified proves nothing within the same second."""
    store = store_on(swift_container, endpoint=f"{proxy.endpoint}/v1/AUTH_test")
    swift_container.write(IMAGE, DATA)
    proxy.plan(READING, CutAnswer(after=5000))
    assert read_all(store.open_reader(Location(f"swift+config://ref1/{swift_container.name}/{IMAGE}", "swift1"))) == DATA


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_lost_segment_is_damage_and_no_short_image(source: Source, swift_container: SwiftContainer, number: int) -> None:
    """Swift answers 409, from the beginning or when the reading is taken up again where it broke."""
    lost = segments(swift_container, IMAGE)[number]
    swift_container.delete(lost)
    with pytest.raises(ObjectDamaged, match=f"its segment {swift_container.name}/{lost} is gone"):
        read_all(source)


def test_a_segment_that_cant_be_read_now_is_no_damage(proxy: FaultyProxy, source: Source, swift_container: SwiftContainer) -> None:
    proxy.plan(READING, *[Answer(409)] * 10)
    with pytest.raises(SourceError, match="409"):
        read_all(source)


def test_a_lost_segment_after_which_nothing_can_be_asked(
    proxy: FaultyProxy, source: Source, swift_container: SwiftContainer
) -> None:
    swift_container.delete(segments(swift_container, IMAGE)[0])
    proxy.plan(rf"^HEAD .*/{IMAGE}$", *[Answer(503)] * 10)
    with pytest.raises(SourceError, match="409"):
        read_all(source)


def test_an_interrupt_ends_a_read_that_hangs(proxy: FaultyProxy, source: Source) -> None:
    proxy.plan(READING, Stall())
    outcome: list[BaseException] = []

    def reading() -> None:
        try:
            source.open()
        except SourceError as error:
            outcome.append(error)

    thread = threading.Thread(target=reading, daemon=True)
    thread.start()
    while not proxy.seen(READING):
        time.sleep(0.01)
    source.interrupt()
    source.interrupt()
    thread.join(10)
    assert not thread.is_alive()
    assert "interrupted" in str(outcome[0])


def test_an_interrupt_before_the_opening(source: Source) -> None:
    source.interrupt()
    with pytest.raises(SourceError):
        source.open()


def test_a_token_that_ends_between_two_answers(swift_container: SwiftContainer, location: Location) -> None:
    source = store_on(swift_container).open_reader(location)
    source.open()
    swift_container.server.expire_tokens()
    source.reopen(7)
    assert read_some(source, len(DATA)) == DATA[7:]
    source.close()


def test_what_was_never_opened(source: Source) -> None:
    for call in (lambda: source.reopen(0), lambda: source.readinto(memoryview(bytearray(1)))):
        with pytest.raises(SourceError, match="not open"):
            call()
    source.close()
    source.close()


def test_a_missing_image_on_radosgw(radosgw_container: SwiftContainer) -> None:
    location = Location(f"swift+config://ref1/{radosgw_container.name}/{IMAGE}", "swift1")
    with pytest.raises(NotFound):
        read_all(store_on(radosgw_container).open_reader(location))
