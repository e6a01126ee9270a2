"""Several processes at once, each doing what comes into its head to the same images: in the end every record is true.

Which operation meets which is left to chance; that each pair is met at each step is in ``test_concurrent_operations.py``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from concurrent_hosts import STORES, Host
from importing_words import assert_settled, run

from glance_stream.importing import recover
from glance_stream.importing.sweep import sweep

IMAGES = ("4f1f65a6-0a4c-4a1e-9b0e-0d3f3a9d8f11", "0d3f3a9d-8f11-4a1e-9b0e-4f1f65a60a4c")
PROCESSES = 3
OPERATIONS = 30

# argv: root, catalogue's URL, seed, how many operations.
CHILD = """
import json, random, sys
from pathlib import Path
from concurrent_hosts import STORES, Host
from importing_words import CountingSource, content, run
from test_concurrent_processes import IMAGES
from glance_stream.errors import GlanceStreamError
from glance_stream.importing import ImportRequest, copy_image, delete_from_store, delete_image, import_image, recover, verify
from glance_stream.importing.sweep import sweep

root, url, seed, count = sys.argv[1:]
host, chance = Host(Path(root), url), random.Random(int(seed))

def verdicts(found):
    return sorted({f"{one.verdict} {one.reason}".strip() for one in found.checked})

def operation(name, image_id):
    store, must = chance.choice(STORES), chance.random() < 0.5
    chosen = chance.sample(STORES, chance.randint(1, 3))
    return {
        "import": lambda: import_image(host.site, ImportRequest(
            CountingSource(content(seed=int(seed))), image_id, stores=chosen, all_stores_must_succeed=must)),
        "copy": lambda: copy_image(host.site, image_id, stores=[store], all_stores_must_succeed=must),
        "copy to all": lambda: copy_image(host.site, image_id, all_stores=True, all_stores_must_succeed=must),
        "delete": lambda: delete_image(host.site, image_id),
        "delete from store": lambda: delete_from_store(host.site, image_id, store),
        "verify": lambda: verify(host.site, image_id),
        "recover": lambda: recover(host.site),
        "sweep": lambda: sweep(host.site, 0),
    }[name]

WEIGHTS = {"import": 6, "copy": 5, "copy to all": 1, "delete": 2, "delete from store": 2, "verify": 2, "recover": 1, "sweep": 1}
NAMES = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(count)):
    name, image_id = chance.choice(NAMES), chance.choice(IMAGES)
    try:
        found = run(operation(name, image_id)(), seconds=120)
        told = verdicts(found) if name == "verify" else []
        if name in ("recover", "sweep"):
            told = [str(one) for one in found.removed + found.leftovers]
        print(json.dumps([name, "done", told]))
    except GlanceStreamError as error:
        print(json.dumps([name, type(error).__name__, [str(error)]]))
host.catalogue.close()
"""

# What another process may rightly be the cause of.
REFUSALS = {"ImageLocked", "ImageNotFound", "InvalidRequest"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalogue.db"


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_they_do_every_record_is_true(
    tmp_path: Path, url: str, python: Callable[..., subprocess.Popen[str]], seed: int
) -> None:
    host = Host(tmp_path, url)  # makes the catalogue
    children = [python(CHILD, tmp_path, url, seed * 10 + number, OPERATIONS) for number in range(PROCESSES)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told: list[list[Any]] = []
    for child in children:
        out, _ = child.communicate(timeout=240)
        assert child.returncode == 0
        told += [json.loads(line) for line in out.splitlines()]
    assert len(told) == PROCESSES * OPERATIONS
    assert [one for one in told if one[1] not in ("done", *REFUSALS)] == []
    assert [one for one in told if one[0] == "verify" and one[1] == "done" and set(one[2]) - {"good"}] == []
    assert [one for one in told if one[0] in ("recover", "sweep") and one[2]] == []
    done = Counter(one[0] for one in told if one[1] == "done")
    assert done["import"] >= 1
    assert_true(host)
    host.catalogue.close()


def assert_true(host: Host) -> None:
    expected = set()
    for image in host.catalogue.list_images():
        assert_settled(host, image.image_id, STORES)
        for location in image.locations:
            held = host.object(location.store_id, image.image_id)
            assert held is not None, f"{location} dangles"
            assert (len(held), hashlib.sha512(held).hexdigest()) == (image.size, image.os_hash_value)
            expected.add(f"{location.store_id}/{image.image_id}")
    assert set(host.files()) == expected
    assert host.catalogue.leftovers() == []
    found = run(recover(host.site))
    assert (found.images, found.held, found.removed, found.leftovers) == ((), (), (), ())
    assert run(sweep(host.site, 0)).removed == ()


class TestRealDatabases:
    @pytest.fixture
    def url(self, database: Any) -> str:
        return f"{database.url}"

    def test_whatever_they_do_every_record_is_true(
        self, tmp_path: Path, url: str, python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        test_whatever_they_do_every_record_is_true(tmp_path, url, python, 3)
