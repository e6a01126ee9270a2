"""Where the system's OpenSSL refuses an algorithm, so do we: hashlib itself would fall back to code of its own.

A real FIPS provider is not everywhere, so OpenSSL is configured to find nothing instead: with ``fips=yes`` demanded and only the
default provider loaded it refuses every digest. With the legacy provider alone it refuses md5 and still gives whirlpool.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL 1.1 has no providers to configure"),
]

CONFIG = """
openssl_conf = start
[start]
providers = providers
alg_section = algorithms
[providers]
{provider} = section
[section]
activate = 1
[algorithms]
default_properties = {properties}
"""

# Prints one line for each algorithm: its name, what OpenSSL says, what the core says.
PROBE = """
import _hashlib, importlib, sys
core = importlib.import_module(sys.argv[1])
for algorithm in sys.argv[2:]:
    try:
        _hashlib.new({"blake2b": "blake2b512"}.get(algorithm, algorithm))
        openssl = "given"
    except ValueError:
        openssl = "refused"
    try:
        core.DigestLane(core.Ring(2, core.PAGE_SIZE), algorithm)
        ours = "given"
    except core.DigestRefused:
        ours = "refused"
    print(algorithm, openssl, ours)
"""

ALGORITHMS = ["md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b", "whirlpool", "md4", "ripemd160"]


def verdicts(core, config: Path, provider: str, properties: str) -> dict[str, tuple[str, str]]:
    config.write_text(CONFIG.format(provider=provider, properties=properties))
    environment = {**os.environ, "OPENSSL_CONF": str(config), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    probe = [sys.executable, "-c", PROBE, core.__name__, *ALGORITHMS]
    output = subprocess.run(probe, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    return {name: (openssl, ours) for name, openssl, ours in map(str.split, output.splitlines())}


def test_without_restrictions(core, tmp_path) -> None:
    found = verdicts(core, tmp_path / "openssl.cnf", "default", "")
    assert found["md5"] == found["sha512"] == ("given", "given")


def test_fips_properties(core, tmp_path) -> None:
    found = verdicts(core, tmp_path / "openssl.cnf", "default", "fips=yes")
    assert found["md5"] == ("refused", "refused")
    assert set(found.values()) == {("refused", "refused")}


@pytest.mark.parametrize("provider", ["base", "legacy"])
def test_the_verdict_is_that_of_openssl(core, tmp_path, provider: str) -> None:
    found = verdicts(core, tmp_path / "openssl.cnf", provider, "")
    assert list(found) == ALGORITHMS
    assert all(openssl == ours for openssl, ours in found.values())
    assert found["md5"] == ("refused", "refused")
