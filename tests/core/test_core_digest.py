"""Digests against NIST's vectors and against hashlib, however the stream is cut."""

from __future__ import annotations

import hashlib
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(60)

# FIPS 180-4's own examples: one block, the 448-bit and the 896-bit message, one million 'a'.
TWO_BLOCKS = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
TWO_LONG_BLOCKS = (
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
)
MILLION = b"a" * 1_000_000
EXAMPLES = [
    ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("sha256", TWO_BLOCKS, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    ("sha256", TWO_LONG_BLOCKS, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"),
    ("sha256", MILLION, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    (
        "sha384",
        b"abc",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    ),
    (
        "sha384",
        TWO_LONG_BLOCKS,
        "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039",
    ),
    (
        "sha384",
        MILLION,
        "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd87f3d8985",
    ),
    (
        "sha512",
        b"abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        "sha512",
        TWO_LONG_BLOCKS,
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
    ),
    (
        "sha512",
        MILLION,
        "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
        "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
    ),
]


def cavp(path: Path) -> list[tuple[str, bytes, str]]:
    records = re.findall(r"Len = (\d+)\nMsg = (\w+)\nMD = (\w+)", path.read_text())
    return [(path.stem.lower(), bytes.fromhex(message)[: int(bits) // 8], digest) for bits, message, digest in records]


CAVP = [vector for path in sorted(Path(__file__).with_name("nist").glob("*.rsp")) for vector in cavp(path)]

# Without a fixed length; OpenSSL knows the first also by its OID, and 'null' has no output at all.
NOT_A_DIGEST = ["shake_128", "shake_256", "SHAKE128", "shake-256", "2.16.840.1.101.3.4.2.11", "keccak-kmac-128", "null"]
UNKNOWN = ["", " ", "sha-3", "md6", "sha256 ", "sha256\0", "sha256\0junk", "sha\u00e9", "\ud800", "aes-128-cbc", "x" * 5000]


def digest(core, start, feed, stream: bytes, algorithm: str, slots: int = 2, pages: int = 1) -> str:
    ring = core.Ring(slots, pages * core.PAGE_SIZE)
    lane = core.DigestLane(ring, algorithm)
    run = start(lane.run)
    start(feed, ring, stream).result()
    run.result()
    assert lane.position == len(stream)
    return lane.hexdigest()


@pytest.mark.parametrize(("algorithm", "message", "expected"), EXAMPLES, ids=lambda v: str(len(v)))
def test_fips_180_4(core, start, feed, algorithm: str, message: bytes, expected: str) -> None:
    assert digest(core, start, feed, message, algorithm, pages=3) == expected


def test_cavp(core, start, feed) -> None:
    assert len(CAVP) > 80
    for algorithm, message, expected in CAVP:
        assert digest(core, start, feed, message, algorithm) == expected


@settings(max_examples=40, deadline=None)
@given(vector=st.sampled_from(EXAMPLES + CAVP), slots=st.integers(2, 5), pages=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_vectors_at_random_splits(core, start, vector, slots: int, pages: int, seed: int) -> None:
    """Random slot sizes, and a source that gives whatever it has."""
    algorithm, message, expected = vector
    ring = core.Ring(slots, pages * core.PAGE_SIZE)
    lane = core.DigestLane(ring, algorithm)
    read_end, write_end = os.pipe()

    def write() -> None:
        chunks = random.Random(seed)
        rest = memoryview(message)
        with open(write_end, "wb", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest[: chunks.choice([1, 63, 4097, 60_000, 1 << 20])]) :]

    calls = [start(lane.run), start(write)]
    with open(read_end, "rb", buffering=0) as source:
        assert start(ring.fill_fd, source.fileno()).result() == len(message)
    ring.finish()
    for call in calls:
        call.result()
    assert lane.hexdigest() == expected


@pytest.mark.parametrize("algorithm", sorted(hashlib.algorithms_available))
def test_every_algorithm_of_hashlib(core, start, feed, algorithm: str) -> None:
    stream = random.Random(algorithm).randbytes(50_001)
    ring = core.Ring(2, core.PAGE_SIZE)
    try:
        expected = hashlib.new(algorithm, stream)
    except ValueError:  # listed, but this OpenSSL has it in a provider that is not loaded
        expected = None
    if expected is None or not expected.digest_size:
        with pytest.raises(core.DigestRefused):
            core.DigestLane(ring, algorithm)
    else:
        assert digest(core, start, feed, stream, algorithm) == expected.hexdigest()


@pytest.mark.parametrize("algorithm", ["SHA256", "sha-256", "SHA2-256", "sha3-512", "blake2b512", "2.16.840.1.101.3.4.2.1"])
def test_other_spellings(core, start, feed, algorithm: str) -> None:
    assert digest(core, start, feed, b"abc", algorithm) == hashlib.new(algorithm, b"abc").hexdigest()


@pytest.mark.parametrize("algorithm", NOT_A_DIGEST + UNKNOWN, ids=lambda name: ascii(name[:30]))
def test_refused(core, algorithm: str) -> None:
    with pytest.raises(core.DigestRefused):
        core.DigestLane(core.Ring(2, core.PAGE_SIZE), algorithm)


def test_what_was_refused_is_no_lane(core, start, feed) -> None:
    """An md5 that FIPS refuses costs the checksum, and must not hold up everything else."""
    ring = core.Ring(2, core.PAGE_SIZE)
    with pytest.raises(core.DigestRefused):
        core.DigestLane(ring, "md6")
    start(feed, ring, bytes(10 * ring.slot_size)).result(timeout=15)


def test_native(core) -> None:
    """The compiled core hashes without the GIL wherever hashlib itself goes to OpenSSL."""
    for algorithm in ("md5", "sha1", "sha256", "sha384", "sha512", "sha3_512"):
        assert core.DigestLane(core.Ring(2, core.PAGE_SIZE), algorithm).native is core.COMPILED


def test_name_is_as_given(core) -> None:
    assert core.DigestLane(core.Ring(2, core.PAGE_SIZE), "SHA256").algorithm == "SHA256"


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_empty_stream(core, start, feed, algorithm: str) -> None:
    assert digest(core, start, feed, b"", algorithm) == hashlib.new(algorithm).hexdigest()


def test_no_digest_before_the_end(core, start, feed) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = core.DigestLane(ring, "sha256")
    with pytest.raises(ValueError, match="stream"):
        lane.hexdigest()
    ring.reserve()
    ring.publish(1)
    run = start(lane.run)
    assert run.waits()
    with pytest.raises(ValueError, match="stream"):
        lane.hexdigest()
    ring.fail()
    with pytest.raises(core.LaneStopped):
        run.result()
    with pytest.raises(ValueError, match="stream"):
        lane.hexdigest()


def test_run_again_after_the_end(core, start, feed) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    lane = core.DigestLane(ring, "sha256")
    feed(ring, b"abc")
    lane.run()
    lane.run()
    assert lane.hexdigest() == EXAMPLES[0][2]
