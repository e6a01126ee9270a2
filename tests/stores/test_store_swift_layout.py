"""Names, limits and options of the Swift store, and what of a container it takes for its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from faults.loop import run
from hypothesis import given
from hypothesis import strategies as st
from real_servers import SwiftContainer
from subject import IMAGE, OTHER, content, put, read_all, write_all
from swift_subject import SEGMENT_SIZE, segments, store_on

from glance_stream.errors import InvalidRequest, StoreError
from glance_stream.model import Location
from glance_stream.stores import convert_options
from glance_stream.stores.swift import SwiftOptions, SwiftStore
from glance_stream.stores.swift.names import SEGMENTS, Group, segment_of
from glance_stream.stores.swift.plan import Limits, Plan, limits_of

DATA = content(2 * SEGMENT_SIZE + 5)
NONCE = "0123456789abcdef"


def store_with(**options: Any) -> SwiftStore:
    return SwiftStore("s", SwiftOptions(**{"auth_url": "https://auth:5000/v3", "user": "t:u", "key": "geheim", **options}))


# -- names ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "swift+config://ref1/glance/{id}",
        "swift+https://t%3Au:geheim@auth:5000/v3/glance/{id}",
        "swift://t%3Au:another%20key@auth:5000/v3/glance/{id}",
        "swift+https://t:u:geheim@AUTH:5000/v3/glance/{id}",
        "swift+https://t%3Au:geheim@auth:5000/v3//glance/{id}",
    ],
)
def test_locations_of_its_own(url: str) -> None:
    assert store_with().owns(url.format(id=IMAGE))


@pytest.mark.parametrize(
    "url",
    [
        "swift+config://ref2/glance/{id}",
        "swift+config://ref1/glance2/{id}",
        "swift+config://ref1/x/glance/{id}",
        "swift+http://t%3Au:geheim@auth:5000/v3/glance/{id}",
        "swift+https://t%3Au:geheim@auth:5001/v3/glance/{id}",
        "swift+https://t%3Au:geheim@auth:5000/v2/glance/{id}",
        "swift+https://t%3Au2:geheim@auth:5000/v3/glance/{id}",
        "swift+https://auth:5000/v3/glance/{id}",
        "swift+https://t%3Au:geheim@auth:5000/v3/glance/glance_stream_segments/{id}",
        "swift+https://t%3Au:geheim@auth:port/v3/glance/{id}",
        "swift+https://t%3Au:geheim@/glance/{id}",
        "swift+config://ref1/glance/glance_stream_segments/{id}/0123456789abcdef/",
        "swift+config://ref1/glance/glance_stream_segments/{id}/0123456789abcdef/00001",
        "s3://ref1/glance/{id}",
    ],
)
def test_locations_of_others(url: str) -> None:
    store = store_with()
    url = url.format(id=IMAGE)
    assert not store.owns(url)
    with pytest.raises(StoreError) as caught:
        store.open_reader(Location(url, "s"))
    assert "geheim" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    options = SwiftOptions(auth_url="https://auth/v3", user="u", key="geheim", application_credential_secret="geheim")
    store = store_with()
    writer = store.writer(IMAGE)
    assert "geheim" not in f"{options!r} {store.where} {writer.trace} {store!r} {vars(store)!r}"
    assert "geheim" not in store.open_reader(Location(f"swift+https://t%3Au:geheim@auth:5000/v3/glance/{IMAGE}", "s")).name


@pytest.mark.parametrize("number", [1, 999, 10_000])
def test_segments_are_told_from_images(number: int) -> None:
    group = Group(IMAGE, NONCE)
    assert segment_of(group.segment(number)) == (group, number)
    for name in (IMAGE, f"{IMAGE}-00001", group.prefix, f"{SEGMENTS}x", f"{group.segment(1)}/x", f"x/{group.segment(1)}"):
        assert segment_of(name) is None


# -- limits ---------------------------------------------------------------------------------------------------------------------


@given(
    size=st.integers(1, 2 * 10**12),
    segment_size=st.integers(64 << 20, 5 << 30),
    limits=st.builds(Limits, st.integers(4 << 30, 5 << 30), st.integers(1000, 2000)),
)
def test_an_image_of_any_size_fits(size: int, segment_size: int, limits: Limits) -> None:
    for hint in (size, None):
        plan = Plan.of(segment_size, hint, limits)
        sizes = [plan.size(number) for number in range(1, limits.max_segments + 1)]
        assert all(0 < each <= limits.max_object_size for each in sizes)
        assert sizes == sorted(sizes)
        assert plan.size(limits.max_segments + 1) == 0
        assert sum(sizes) >= size


def test_segments_stay_as_configured_while_there_are_few() -> None:
    plan = Plan.of(200 << 20, None, Limits())
    assert {plan.size(number) for number in range(1, 101)} == {200 << 20}
    assert sum(plan.size(number) for number in range(1, 1001)) > 3 * 10**12


def test_limits_are_the_clusters() -> None:
    told = {"swift": {"max_file_size": 1000}, "slo": {"max_manifest_segments": 7}}
    assert limits_of(told) == Limits(1000, 7)
    assert limits_of({}) == Limits()
    assert limits_of({"swift": {"max_file_size": "many"}, "slo": None or {}}) == Limits()
    assert limits_of({"swift": {}}) is None


# -- options --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"user": None},
        {"key": None},
        {"application_credential_id": "a"},
        {"application_credential_id": "a", "application_credential_secret": "geheim", "auth_version": "1"},
        {"auth_url": "http://user:geheim@host/v3"},
        {"ca": "/nowhere"},
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store_with(**options)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"container": "a/b"}, {"segment_size": 0}, {"auth_version": "2"}, {"read_timeout": 0}, {"x": 1}]
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        convert_options({"auth_url": "http://auth", **options}, SwiftOptions)


# -- what is in a container -----------------------------------------------------------------------------------------------------


def test_an_image_whose_metadata_somebody_set_is_still_an_image(swift_container: SwiftContainer) -> None:
    """The writer's mark is gone then; the manifest itself tells."""
    store = store_on(swift_container)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        location = await writer.commit(len(DATA), {})
        with swift_container.server.connection() as swift:
            swift.post_object(swift_container.name, IMAGE, {"X-Object-Meta-Color": "red"})
        assert await store.strays() == []
        await store.discard(writer.trace)
        assert read_all(store.open_reader(location)) == DATA

    run(scenario())


def test_where_it_can_not_be_told_nothing_is_removed(radosgw_container: SwiftContainer) -> None:
    """radosgw gives no manifest back."""
    store = store_on(radosgw_container)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        await writer.flush(len(DATA))
        location = await writer.commit(len(DATA), {})
        with radosgw_container.server.connection() as swift:
            headers = {"X-Object-Meta-Color": "red", "X-Remove-Object-Meta-Glance-Stream": "x"}
            swift.post_object(radosgw_container.name, IMAGE, headers)
        assert "x-object-meta-glance-stream" not in radosgw_container.headers(IMAGE)
        with pytest.raises(StoreError, match="can't tell"):
            await store.discard(writer.trace)
        other = await store.open_writer(OTHER, len(DATA))
        write_all(other, DATA)
        assert [stray.trace for stray in await store.strays()] == [other.trace]
        await other.abort()
        assert read_all(store.open_reader(location)) == DATA

    run(scenario())


def test_strays_are_segments_of_ours_without_an_image(swift_container: SwiftContainer) -> None:
    store = store_on(swift_container)
    run(put(store, OTHER, DATA))
    group = Group(IMAGE, NONCE)
    others = [f"{IMAGE}-00001", f"{SEGMENTS}x", f"{SEGMENTS}{IMAGE}/readme", f"{group.prefix}x"]
    for name in (*others, group.segment(1), group.segment(3), Group(OTHER, NONCE).segment(1)):
        swift_container.write(name, b"abc")
    before = set(swift_container.objects())
    strays = {stray.trace: stray for stray in run(store.strays())}
    start = f"swift+config://ref1/{swift_container.name}/{SEGMENTS}"
    assert {trace.removeprefix(start) for trace in strays} == {f"{IMAGE}/{NONCE}/", f"{OTHER}/{NONCE}/"}
    assert strays[f"{start}{IMAGE}/{NONCE}/"].size == 6
    assert 0 <= strays[f"{start}{IMAGE}/{NONCE}/"].age < 60
    assert len(run(store.sweep(0))) == 2
    gone = {group.segment(1), group.segment(3), Group(OTHER, NONCE).segment(1)}
    assert set(swift_container.objects()) == before - gone
    assert read_all(store.open_reader(Location(f"swift+config://ref1/{swift_container.name}/{OTHER}", "swift1"))) == DATA


@pytest.mark.parametrize("manifest", ["{container}/{id}", "{container}/8"])
def test_a_manifest_that_takes_in_other_objects_is_not_followed(swift_container: SwiftContainer, manifest: str) -> None:
    """Its prefix could be that of every image."""
    store = store_on(swift_container)
    run(put(store, OTHER, DATA))
    swift_container.write(IMAGE, b"", {"X-Object-Manifest": manifest.format(container=swift_container.name, id=IMAGE)})
    before = swift_container.objects()
    with pytest.raises(StoreError, match="not written"):
        run(store.delete(Location(f"swift+config://ref1/{swift_container.name}/{IMAGE}", "swift1")))
    assert swift_container.objects() == before


def test_segments_of_an_unknown_size_are_cut_where_they_should(swift_container: SwiftContainer) -> None:
    store = store_on(swift_container)

    async def scenario() -> Location:
        writer = await store.open_writer(IMAGE, None)
        write_all(writer, DATA[: 2 * SEGMENT_SIZE])
        assert len(segments(swift_container, IMAGE)) == 2  # and no third that would be empty
        await writer.flush(2 * SEGMENT_SIZE)
        return await writer.commit(2 * SEGMENT_SIZE, {})

    assert read_all(store.open_reader(run(scenario()))) == DATA[: 2 * SEGMENT_SIZE]
    assert [swift_container.objects()[name] for name in segments(swift_container, IMAGE)] == [SEGMENT_SIZE] * 2


@pytest.mark.parametrize("hint", [len(DATA) - SEGMENT_SIZE, len(DATA) + 1])
def test_a_size_that_was_announced_wrongly(swift_container: SwiftContainer, hint: int) -> None:
    """More than was announced is written all the same; less can't be, the cluster waits for the rest."""
    store = store_on(swift_container)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, hint)
        write_all(writer, DATA)
        if hint < len(DATA):
            await writer.flush(len(DATA))
            assert read_all(store.open_reader(await writer.commit(len(DATA), {}))) == DATA
            return
        with pytest.raises(StoreError, match="announced"):
            await writer.flush(len(DATA))
        await writer.abort()
        assert swift_container.objects() == {}

    run(scenario())
