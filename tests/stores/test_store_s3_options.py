"""The S3 store without a server: options, names, and the sizes of parts."""

from __future__ import annotations

import sys
import zlib
from itertools import accumulate

import pytest
from faults.loop import run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from subject import IMAGE

from glance_stream.config import StoreConfig
from glance_stream.errors import InvalidRequest, StoreError, StoreFull
from glance_stream.model import Location
from glance_stream.stores import build, convert_options
from glance_stream.stores.s3 import S3Options, S3Store
from glance_stream.stores.s3.client import Bucket, S3Settings
from glance_stream.stores.s3.crc32 import crc32
from glance_stream.stores.s3.parts import LARGEST_OBJECT, LARGEST_PART, MIB, MOST_PARTS, SMALLEST_PART, Buffers, PartSizes

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": SECRET}


def store(**options: object) -> S3Store:
    return S3Store.from_options("s3", convert_options({"bucket": "images", **options}, S3Options))


@pytest.mark.parametrize(
    ("endpoint", "where"),
    [
        (None, "s3+https://s3.amazonaws.com/images"),
        ("https://s3.example.org", "s3+https://s3.example.org/images"),
        ("https://s3.example.org/", "s3+https://s3.example.org/images"),
        ("http://127.0.0.1:7480", "s3://127.0.0.1:7480/images"),
        ("127.0.0.1:7480", "s3://127.0.0.1:7480/images"),
        ("https://example.org/s3/v1/", "s3+https://example.org/s3/v1/images"),
    ],
)
def test_locations_are_those_of_glance_store(endpoint: str | None, where: str) -> None:
    images = store(endpoint=endpoint)
    assert images.where == where
    for scheme in ("s3", "s3+http", "s3+https"):  # a bucket is the same whichever way it was reached
        assert images.owns(f"{scheme}://{where.partition('://')[2]}/{IMAGE}")


@pytest.mark.parametrize("keys", [f"AKIA:{SECRET}", "AKIA:plain", "tenant:user:secret", "AKIA:a%2Fb"])
def test_a_location_with_keys_in_it_is_owned_and_not_repeated(keys: str) -> None:
    """glance_store up to 5.4 wrote those."""
    images = store(endpoint="https://s3.example.org")
    url = f"s3+https://{keys}@s3.example.org/images/{IMAGE}"
    assert images.owns(url)
    assert not images.owns(url.replace("/images/", "/images2/"))
    assert not images.owns(url.replace("@s3.", "@s4."))
    assert images.open_reader(Location(url, "s3")).name == f"s3+https://s3.example.org/images/{IMAGE}"
    with pytest.raises(StoreError) as raised:
        images.open_reader(Location(f"s3://{keys}@elsewhere/images/{IMAGE}", "s3"))
    assert keys.rpartition(":")[2] not in str(raised.value)


def test_traces_hold_no_credential_and_are_no_locations() -> None:
    images = store(**KEYS)
    trace = images.writer(IMAGE).trace
    assert trace.startswith(f"s3+https://s3.amazonaws.com/images/{IMAGE}?writer=")
    assert not images.owns(trace)


@pytest.mark.parametrize(
    "trace",
    [
        f"s3+https://s3.amazonaws.com/images/{IMAGE}?writer=0123456789abcdef",
        f"s3+https://s3.amazonaws.com/images/{IMAGE}?since=12",
        f"s3+https://s3.amazonaws.com/other/{IMAGE}?writer=0123456789abcdef&since=12",
        f"s3+https://s3.amazonaws.com/images/{IMAGE}?writer=0123456789abcdef&since=12&upload=3",
        f"s3+https://s3.amazonaws.com/images/../{IMAGE}?upload=3",
        f"s3+https://s3.amazonaws.com/images/{IMAGE}",
    ],
)
def test_what_is_no_trace_is_refused_before_anything_is_asked(trace: str) -> None:
    with pytest.raises(StoreError, match="not a trace"):
        run(store(endpoint="http://127.0.0.1:9").discard(trace))


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": "a/b"},
        {"bucket": ".."},
        {"endpoint": f"https://AKIA:{SECRET}@s3.example.org"},
        {"endpoint": "ftp://s3.example.org"},
        {"endpoint": "https://s3.example.org?x=1"},
        {"endpoint": "https://s3.example.org:99999"},
        {"endpoint": "https://[::1"},
        {"parts_in_flight": 1},
        {"addressing_style": "both"},
        {"checksum": "sha1"},
        {"access_key": "AKIA"},
        {"secret_key": SECRET},
        {"read_timeout": 0},
        {"colour": "red"},
    ],
)
def test_options_that_can_not_be_used(options: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        build("s3", StoreConfig(type="s3", options={"bucket": "images", **options}))
    assert SECRET not in str(raised.value)


def test_options_and_settings_do_not_show_their_secrets() -> None:
    options = S3Options(bucket="images", session_token="token-of-a-session", **KEYS)
    for shown in (repr(options), repr(options.settings()), repr(store(**KEYS))):
        assert not any(secret in shown for secret in (*KEYS.values(), "token-of-a-session"))


def test_a_missing_sdk_is_named_and_nothing_else_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    images = store()
    assert images.owns(f"{images.where}/{IMAGE}")
    assert images.writer(IMAGE).trace
    with pytest.raises(StoreError, match=r"pip install 'glance-stream\[s3\]'"):
        run(images.open())


def test_a_reader_too_learns_where_the_bucket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only AWS tells: a request signed for another region is refused there."""
    bucket = Bucket("s3", S3Settings("images", region="us-east-1", **KEYS))
    told = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-3"}}}
    monkeypatch.setattr(type(bucket._client()), "head_bucket", lambda _, **named: told)
    try:
        assert "/eu-west-3/s3/" in bucket.signed("GET", bucket.url(IMAGE))["Authorization"]
    finally:
        bucket.close()


@given(st.binary(max_size=1000))
def test_the_checksum_is_the_one_that_s3_means(data: bytes) -> None:
    assert crc32(memoryview(data)) == zlib.crc32(data)


# -- the sizes of parts -----------------------------------------------------------------------------------------------------------

part_sizes = st.integers(SMALLEST_PART, 600 * MIB)


@settings(max_examples=20)
@given(part_size=part_sizes)
@example(part_size=SMALLEST_PART)
@example(part_size=8 * MIB)
def test_an_image_of_unknown_size_may_have_5_tib(part_size: int) -> None:
    sizes = PartSizes(part_size)
    every = [sizes[number] for number in range(1, MOST_PARTS + 1)]
    assert sum(every) >= LARGEST_OBJECT
    assert every == sorted(every)
    assert every[0] == part_size
    assert every[-1] <= max(part_size, 1200 * MIB) <= LARGEST_PART
    assert every[999] == part_size


@settings(max_examples=20)
@given(part_size=part_sizes, size=st.integers(0, LARGEST_OBJECT))
@example(part_size=SMALLEST_PART, size=LARGEST_OBJECT)
@example(part_size=8 * MIB, size=80_000 * MIB + 1)
def test_an_image_of_known_size_fits_into_the_parts_there_are(part_size: int, size: int) -> None:
    sizes = PartSizes(part_size, size)
    ends = accumulate(sizes[number] for number in range(1, MOST_PARTS + 1))
    assert any(end >= size for end in ends)
    if size > 1000 * part_size:
        assert {SMALLEST_PART <= sizes[number] <= max(part_size, 525 * MIB) for number in (1, 1001, MOST_PARTS)} == {True}


def test_a_size_that_was_announced_too_small_ends_with_the_last_part() -> None:
    with pytest.raises(StoreFull):
        Buffers("s3", MIB).part(MOST_PARTS + 1, MIB)


def test_buffers_are_lent_within_the_limit_or_two_at_least() -> None:
    buffers = Buffers("s3", 4 * MIB)
    lent = [buffers.part(number, MIB) for number in range(1, 5)]
    buffers.stop(StoreError("s3", "no more room, and stopped"))
    with pytest.raises(StoreError, match="no more room"):
        buffers.part(5, MIB)
    for part in lent:
        buffers.give_back(part)
        assert not part.buffer
    large = Buffers("s3", 4 * MIB)
    assert [large.part(number, 5 * MIB).size for number in (1, 2)] == [5 * MIB] * 2
