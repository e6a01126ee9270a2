"""Transfers that go well, and what they say of the image."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import xxhash
import zstandard
from faults.loop import run
from faults.source import FaultySource
from stage import DATA, IMAGE, LIMITS, SLOT, Stage

from glance_stream.chunker import Ring
from glance_stream.sources.path import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Expectation, Limits, Progress, TransferRequest, examine, transfer

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@LOOPS
@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_store_gets_every_byte(count: int, loop: str) -> None:
    stage = Stage(count)
    done = run(stage.transfer(FaultySource(DATA)), loop=loop)
    names = [f"s{number}" for number in range(count)]
    stage.assert_only(*names)
    assert {store_id: location.store_id for store_id, location in done.locations.items()} == dict(zip(names, names, strict=True))
    assert (done.failures, done.leftovers) == ({}, ())


@LOOPS
@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("size", [1, SLOT - 1, SLOT, SLOT + 1, (1 << 20) + 7])
def test_from_a_descriptor_into_files_and_memory(stage: Stage, tmp_path: Path, size: int, thin: bool, loop: str) -> None:
    data = (DATA * (1 + size // len(DATA)))[:size]
    (tmp_path / "image").write_bytes(data)
    files = [FileStore(f"f{number}", tmp_path / f"f{number}") for number in range(2)]
    source = PathSource(tmp_path / "image")
    done = run(stage.transfer(source, stores=[files[0], *stage.stores, files[1]], thin=thin), loop=loop)
    stage.assert_only("s0", "s1", "s2", data=data)
    for store in files:
        assert [path.name for path in store.path.iterdir()] == [IMAGE]
        assert (store.path / IMAGE).read_bytes() == data
        assert done.locations[store.store_id].url == f"file://{store.path}/{IMAGE}"


@LOOPS
def test_recorder_is_told_in_order(stage: Stage, loop: str) -> None:
    run(stage.transfer(FaultySource(DATA)), loop=loop)
    assert stage.recorder.events == ["opened"] * 3 + ["flushed"] * 3 + ["verified"] + ["committed"] * 3 + ["finished"]
    assert set(stage.recorder.traces) == set(stage.recorder.locations) == {"s0", "s1", "s2"}


def test_digests_and_fingerprints(stage: Stage) -> None:
    wanted = [Expectation("sha256", hashlib.sha256(DATA).hexdigest()), Expectation("sha1", hashlib.sha1(DATA).hexdigest())]
    verified = run(stage.transfer(FaultySource(DATA), md5=True, expected=wanted, hash_algo="SHA512")).verified
    assert (verified.size, verified.decompressed) == (len(DATA), None)
    assert (verified.os_hash_algo, verified.os_hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert verified.checksum == hashlib.md5(DATA).hexdigest()
    assert verified.digests == {name: hashlib.new(name, DATA).hexdigest() for name in ("sha512", "sha256", "sha1", "md5")}
    parts = [DATA[at : at + SLOT] for at in range(0, len(DATA), SLOT)]
    assert verified.fingerprints.slot_size == SLOT
    assert verified.fingerprints.digests == b"".join(xxhash.xxh3_128_digest(part) for part in parts)


def test_md5_is_not_a_checksum_unless_asked_for(stage: Stage) -> None:
    md5 = Expectation("md5", hashlib.md5(DATA).hexdigest())
    assert run(stage.transfer(FaultySource(DATA), expected=[md5])).verified.checksum is None


def test_expectations_may_be_in_capitals(stage: Stage) -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    run(stage.transfer(FaultySource(DATA), expected=[Expectation("SHA256", sha256.upper()), Expectation.parse(f"Sha256:{sha256}")]))
    stage.assert_only("s0", "s1", "s2")


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
@pytest.mark.parametrize("ask", ["auto", "name"])
def test_compressed(stage: Stage, name: str, compress: object, ask: str) -> None:
    packed = compress(DATA)  # type: ignore[operator]
    done = run(
        stage.transfer(
            FaultySource(packed),
            decompress=name if ask == "name" else "auto",
            expected=[Expectation("sha256", hashlib.sha256(DATA).hexdigest())],
            expected_compressed=[Expectation("sha256", hashlib.sha256(packed).hexdigest())],
            expected_size=len(DATA),
        )
    )
    stage.assert_only("s0", "s1", "s2")
    assert (done.verified.decompressed, done.verified.size) == (name, len(DATA))


def test_never_stores_the_compressed_form(stage: Stage) -> None:
    packed = gzip.compress(DATA)
    sha256 = Expectation("sha256", hashlib.sha256(packed).hexdigest())
    run(stage.transfer(FaultySource(packed), decompress="never", expected=[sha256], expected_compressed=[sha256]))
    stage.assert_only("s0", "s1", "s2", data=packed)


def test_progress_ends_done(stage: Stage) -> None:
    seen: list[Progress] = []

    run(transfer(TransferRequest(IMAGE, FaultySource(DATA), stage.stores, limits=LIMITS), observer=seen.append))
    assert [seen[0].phase, seen[-1].phase] == ["transferring", "done"]
    assert seen[-1].stores == dict.fromkeys(["s0", "s1", "s2"], len(DATA))
    assert (seen[-1].read, seen[-1].total, seen[-1].produced) == (len(DATA), len(DATA), len(DATA))


def test_examine_tells_what_the_bytes_are() -> None:
    source = FaultySource(DATA)
    found = run(examine(source, ["sha512", "md5"], SLOT, Limits()))
    assert (found.size, source.closed) == (len(DATA), 1)
    assert found.digests == {"sha512": hashlib.sha512(DATA).hexdigest(), "md5": hashlib.md5(DATA).hexdigest()}
    assert len(found.fingerprints.digests) == 16 * 6


def test_ring_goes_round_many_times() -> None:
    data = DATA * 40
    stage = Stage(2)
    run(stage.transfer(FaultySource(data)))
    assert len(data) > 100 * Ring(2, SLOT).slots * SLOT
    stage.assert_only("s0", "s1", data=data)
