"""Streams and requests that must not become an image: nothing is left, the source is closed, the reason is told."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from faults.source import FaultySource
from stage import DATA, LIMITS, SLOT, Stage

from glance_stream.decode.base import DecodeLimits
from glance_stream.errors import (
    DecodeError,
    DigestMismatch,
    EmptyImage,
    GlanceStreamError,
    InvalidRequest,
    LimitExceeded,
    SourceError,
)
from glance_stream.sources.path import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Expectation, Limits, examine

WRONG = Expectation("sha256", hashlib.sha256(b"other").hexdigest())
SMALL = Limits(slots=2, slot_size=SLOT, decode=DecodeLimits(max_size=len(DATA) - 1))
PACKED = gzip.compress(DATA)


@pytest.mark.parametrize("best_effort", [False, True])
@pytest.mark.parametrize(
    ("make", "fields", "error"),
    [
        pytest.param(lambda: FaultySource(DATA), {"expected": [WRONG]}, DigestMismatch, id="wrong digest"),
        pytest.param(lambda: FaultySource(DATA), {"expected_size": len(DATA) + 1}, DigestMismatch, id="wrong size"),
        pytest.param(lambda: FaultySource(DATA), {"expected_compressed": [WRONG]}, DigestMismatch, id="wrong digest of what came"),
        pytest.param(lambda: FaultySource(PACKED), {"expected_compressed": [WRONG]}, DigestMismatch, id="wrong digest of the gzip"),
        pytest.param(lambda: FaultySource(PACKED), {"expected": [WRONG]}, DigestMismatch, id="wrong digest of the content"),
        pytest.param(lambda: FaultySource(PACKED[:-9]), {}, DecodeError, id="gzip cut short"),
        pytest.param(lambda: FaultySource(PACKED), {"limits": SMALL}, LimitExceeded, id="gzip too large"),
        pytest.param(lambda: FaultySource(DATA), {"limits": SMALL}, LimitExceeded, id="too large"),
        pytest.param(lambda: FaultySource(DATA, unknown_size=True), {"limits": SMALL}, LimitExceeded, id="too large, size unknown"),
        pytest.param(lambda: FaultySource(b""), {}, EmptyImage, id="empty"),
        pytest.param(lambda: FaultySource(b"", unknown_size=True), {}, EmptyImage, id="empty, size unknown"),
        pytest.param(lambda: FaultySource(gzip.compress(b"")), {}, EmptyImage, id="gzip of nothing"),
        pytest.param(lambda: FaultySource(DATA, fails_at=0), {}, SourceError, id="breaks at once"),
        pytest.param(lambda: FaultySource(DATA, fails_at=0), {"decompress": "never"}, SourceError, id="breaks at once, no head"),
        pytest.param(lambda: FaultySource(DATA * 9, fails_at=SLOT * 40 + 1), {}, SourceError, id="breaks later"),
        pytest.param(lambda: FaultySource(PACKED, announced=len(PACKED) + 1), {}, SourceError, id="gzip with too little of it"),
        pytest.param(lambda: FaultySource(DATA, announced=len(DATA) + 1), {}, SourceError, id="less than announced"),
        pytest.param(lambda: FaultySource(DATA, announced=len(DATA) - 1), {}, SourceError, id="more than announced"),
        pytest.param(lambda: FaultySource(DATA, changes=True), {}, SourceError, id="changed meanwhile"),
    ],
)
def test_a_bad_stream(
    stage: Stage, make: Callable[[], FaultySource], fields: Mapping[str, Any], error: type[GlanceStreamError], best_effort: bool
) -> None:
    source = make()
    with pytest.raises(error) as caught:
        run(stage.transfer(source, best_effort=best_effort, **fields))
    stage.assert_only()
    assert type(caught.value) is error
    assert caught.value.leftovers == ()
    assert source.closed
    assert stage.recorder.events[-1] == "rolled_back"
    assert "committed" not in stage.recorder.events


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"hash_algo": "crc99"}, id="hash algorithm"),
        pytest.param({"expected": [Expectation("crc99", "00")]}, id="expected digest"),
        pytest.param({"expected_compressed": [Expectation("crc99", "00")]}, id="expected digest of what comes"),
        pytest.param({"decompress": "arj"}, id="compression"),
        pytest.param({"stores": []}, id="no store"),
    ],
)
def test_a_bad_request_touches_nothing(stage: Stage, fields: Mapping[str, Any]) -> None:
    source = FaultySource(DATA)
    with pytest.raises(InvalidRequest):
        run(stage.transfer(source, **fields))
    assert (source.opened, stage.recorder.events) == (0, [])
    assert all(store.calls == [] for store in stage.stores)


def test_a_store_named_twice_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidRequest):
        run(stage.transfer(FaultySource(DATA), stores=[stage.stores[0], stage.stores[0]]))


@pytest.mark.parametrize("text", ["sha256", "sha256:", ":00", "sha256:xyz", "sha256:abc"])
def test_an_expectation_has_a_form(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Expectation.parse(text)


def test_a_source_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        run(stage.transfer(PathSource(tmp_path / "missing")))
    stage.assert_only()


def test_a_file_that_grows_while_it_is_read(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(DATA)

    class Growing(PathSource):
        def fileno(self) -> int | None:
            with path.open("ab") as file:
                file.write(b"more")
            return super().fileno()

    files = FileStore("files", tmp_path / "store")
    with pytest.raises(SourceError):
        run(stage.transfer(Growing(path), stores=[files, *stage.stores]))
    stage.assert_only()
    assert list(files.path.iterdir()) == []


@pytest.mark.parametrize("phase", ["opening", "reading"])
def test_a_source_that_says_nothing_is_given_up(stage: Stage, phase: str) -> None:
    source = FaultySource(DATA, opening_blocks=phase == "opening", blocks_at=len(DATA) // 2 if phase == "reading" else None)
    limits = Limits(slots=2, slot_size=SLOT, source_timeout=0.3)
    with pytest.raises(SourceError):
        run(stage.transfer(source, decompress="never", limits=limits))
    stage.assert_only()


def test_examine_closes_a_broken_source() -> None:
    source = FaultySource(DATA, fails_at=SLOT * 2)
    with pytest.raises(SourceError):
        run(examine(source, ["sha512"], SLOT, LIMITS))
    assert source.closed


def test_examine_gives_up_a_source_that_does_not_open() -> None:
    """In the store's time, since it is a store's object; a source that an operator pipes in may think for an hour."""
    source = FaultySource(DATA, opening_blocks=True)
    limits = Limits(slots=2, slot_size=SLOT, store_timeout=0.2)
    with pytest.raises(SourceError, match=r"0\.2 s"):
        run(examine(source, ["sha512"], SLOT, limits), seconds=5)
    assert source.closed


@pytest.mark.parametrize("text", ["sha256:abcd", "md5:00", "sha512:" + "a" * 64])
def test_a_digest_of_impossible_length_is_refused_before_anything(text: str) -> None:
    with pytest.raises(InvalidRequest, match="hexadecimal digits"):
        Expectation.parse(text).check()
