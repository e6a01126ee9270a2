"""What the digests are of, and which there are (AC32-AC34)."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import logging
import lzma
import shutil
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from importing_words import House, assert_holds, assert_settled, content

from glance_stream.chunker import DigestLane, DigestRefused
from glance_stream.errors import DigestMismatch, InvalidRequest
from glance_stream.transfer import Expectation, engine

DATA = content()
COREUTILS = {"sha256": "sha256sum", "sha384": "sha384sum", "sha512": "sha512sum", "blake2b": "b2sum", "sha1": "sha1sum"}


@pytest.mark.parametrize("algorithm", ["sha256", "blake2b", "sha3_256", "sha512", "SHA384", "sha1", "blake2s"])
def test_ac33_the_chosen_algorithm(house: House, algorithm: str) -> None:
    """AC33: equal to hashlib, and to coreutils where they have it."""
    image = house.active(DATA, "a", hash_algo=algorithm)
    assert (image.os_hash_algo, image.os_hash_value) == (algorithm.lower(), hashlib.new(algorithm, DATA).hexdigest())
    tool = COREUTILS.get(algorithm.lower())
    if tool and shutil.which(tool):
        printed = subprocess.run([tool, house.directory("a") / image.image_id], capture_output=True, text=True, check=True).stdout
        assert printed.split()[0] == image.os_hash_value
    assert image.checksum is None


def test_the_default_is_sha512_and_md5_on_request(house: House) -> None:
    image = house.active(DATA, "a", md5=True)
    assert (image.os_hash_algo, image.os_hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert image.checksum == hashlib.md5(DATA).hexdigest()


def test_the_algorithm_on_record_wins(house: House) -> None:
    """As in Glance: `image.os_hash_algo or CONF.hashing_algorithm`."""
    image = house.queued(os_hash_algo="sha256")
    done = house.import_(DATA, image_id=image.image_id).image
    assert (done.os_hash_algo, done.os_hash_value) == ("sha256", hashlib.sha256(DATA).hexdigest())


def test_ac32_md5_is_refused(house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """AC32: only the checksum is missing, and that is said once."""

    def refuse(ring: Any, name: str) -> DigestLane:
        if name == "md5":
            raise DigestRefused("md5 is refused")
        return DigestLane(ring, name)

    monkeypatch.setattr(engine, "DigestLane", refuse)
    with caplog.at_level(logging.WARNING):
        image = house.active(DATA, "a", "b", md5=True)
    assert (image.checksum, image.os_hash_value) == (None, hashlib.sha512(DATA).hexdigest())
    assert [record.getMessage() for record in caplog.records if "md5" in record.getMessage()] == [
        "md5 is refused on this system (FIPS): the image's checksum stays empty"
    ]
    assert_settled(house, image.image_id, "ab")


LEGACY_ALONE = """
openssl_conf = start
[start]
providers = providers
[providers]
legacy = section
[section]
activate = 1
"""

IMPORT_WITHOUT_MD5 = """
import dataclasses, json, logging, sys
from pathlib import Path
from importing_words import open_house
logging.basicConfig(stream=sys.stdout, format="%(message)s")
house = open_house(Path(sys.argv[1]))
image = house.active(b"image" * 1000, "a", md5=True, hash_algo="whirlpool")
print(json.dumps([image.checksum, image.os_hash_algo, image.os_hash_value]))
house.catalogue.close()
"""


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL 1.1 has no providers to configure")
def test_ac32_where_openssl_itself_refuses_md5(house: House, python: Callable[..., Any]) -> None:
    """AC32, for real: the legacy provider alone refuses md5 and gives whirlpool, which stands for what FIPS gives."""
    configuration = house.root / "openssl.cnf"
    configuration.write_text(LEGACY_ALONE)
    printed, _ = python(IMPORT_WITHOUT_MD5, house.root, OPENSSL_CONF=str(configuration)).communicate(timeout=60)
    warning, answer = printed.splitlines()
    assert "md5 is refused" in warning
    expected = hashlib.new("whirlpool", b"image" * 1000).hexdigest() if "whirlpool" in hashlib.algorithms_available else None
    checksum, algorithm, value = json.loads(answer)
    assert (checksum, algorithm) == (None, "whirlpool")
    assert expected in (None, value)
    assert len(value) == 128


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_ac34_digests_are_of_the_stored_bytes(house: House, compress: Callable[[bytes], bytes]) -> None:
    """AC34: decompressed; those of the compressed bytes can be expected beside them."""
    packed = compress(DATA)
    wanted = [Expectation("sha256", hashlib.sha256(DATA).hexdigest())]
    source = [Expectation("sha256", hashlib.sha256(packed).hexdigest())]
    outcome = house.import_(packed, all_stores=True, md5=True, expected=wanted, expected_compressed=source)
    assert_holds(house, outcome.image.image_id, DATA, "a", "b", "c")
    assert outcome.image.checksum == hashlib.md5(DATA).hexdigest()
    assert outcome.notes[0].startswith("decompressed from ")
    with pytest.raises(DigestMismatch):
        house.import_(packed, expected=source)
    with pytest.raises(DigestMismatch):
        house.import_(packed, expected_compressed=wanted)
    assert len(house.files()) == 3


def test_ac34_container_format_compressed_keeps_the_compressed_bytes(house: House) -> None:
    """AC34: there the compressed form is what the image is, for a new record and for one of before."""
    packed = gzip.compress(DATA)
    fresh = house.import_(packed, container_format="compressed", stores=["a"]).image
    earlier = house.queued(container_format="compressed")
    house.import_(packed, image_id=earlier.image_id, stores=["b"])
    for store_id, image_id in (("a", fresh.image_id), ("b", earlier.image_id)):
        image = house.image(image_id)
        assert house.object(store_id, image_id) == packed
        assert (image.size, image.os_hash_value) == (len(packed), hashlib.sha512(packed).hexdigest())


@pytest.mark.parametrize(
    "said", [{"container_format": "compressed"}, {"disk_format": "iso"}, {"name": "other"}, {"properties": {"os": "hurd"}}], ids=str
)
def test_what_is_said_of_an_image_on_record_must_agree_with_it(house: House, said: dict[str, Any]) -> None:
    """Or the import would go on with something else than was asked for."""
    earlier = house.queued(container_format="bare")
    with pytest.raises(InvalidRequest, match="on record"):
        house.import_(gzip.compress(DATA), image_id=earlier.image_id, **said)
    assert house.files() == []
    house.import_(gzip.compress(DATA), image_id=earlier.image_id, name="jammy", disk_format="raw", properties={"os": "ubuntu"})
    assert house.object("a", earlier.image_id) == DATA


@pytest.mark.parametrize("text", ["sha256:{}", "SHA256:{}", "sha3_256:{}"])
def test_expected_digests_are_compared_whatever_their_case(house: House, text: str) -> None:
    algorithm = text.partition(":")[0]
    value = hashlib.new(algorithm, DATA).hexdigest()
    for written in (text.format(value), text.format(value.upper())):
        house.active(DATA, "a", expected=[Expectation.parse(written)])
