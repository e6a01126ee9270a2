"""The harness in short, as it runs with every change; and that it can fail. `python -m crash` runs it for as long as one likes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from crash.harness import Harness
from crash.invariants import Content, State, violations
from crash.places import FilePlace
from crash.records import ImageRecord, Records
from crash.workload import QUEUED, Operation

pytestmark = pytest.mark.timeout(300)  # on a machine that is busy with other things

IMAGE = "11111111-2222-4333-8444-555555555555"
HELLO = Content(
    5,
    "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
)
FILES = "file1,file2,file3"


def run(tmp_path: Path, *options: object) -> dict[str, Any]:
    found = tmp_path / "report.json"
    command = [sys.executable, "-m", "crash", "--json", str(found), *map(str, options)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, timeout=280, text=True, check=False)
    report: dict[str, Any] = json.loads(found.read_text())
    assert (done.returncode, report["violations"]) == (0, []), done.stdout
    return report


def test_killed(tmp_path: Path) -> None:
    report = run(tmp_path, "--seed", 1, "--count", 20, "--stores", FILES)
    assert report["total"] >= 20
    assert set(report["exits"]) == {"-9"}


@pytest.mark.usefixtures("radosgw", "swift")
def test_killed_with_real_servers(tmp_path: Path) -> None:
    assert run(tmp_path, "--seed", 2, "--count", 6)["total"] >= 6


def test_interrupted(tmp_path: Path) -> None:
    """Rolled back without recover."""
    assert run(tmp_path, "--seed", 3, "--count", 8, "--stores", FILES, "--signal", "int,term")["total"] >= 8


def test_interrupted_twice(tmp_path: Path) -> None:
    report = run(tmp_path, "--seed", 4, "--count", 6, "--stores", FILES, "--signal", "int,term", "--twice")
    assert report["total"] >= 6


# -- that it can fail ----------------------------------------------------------------------------------------------------------


class Careless(Harness):
    """Never recovers."""

    def _end(self, operation: Operation, allowed: frozenset[State]) -> frozenset[State]:
        return allowed


def test_without_a_recovery_it_finds_what_is_left(tmp_path: Path) -> None:
    places = [FilePlace(store_id, tmp_path / store_id) for store_id in ("file1", "file2")]
    harness = Careless(tmp_path, places, f"sqlite:///{tmp_path}/catalogue.db", 5, operations=["import"])
    try:
        report = harness.run(60, most_violations=1)
    finally:
        harness.close()
    assert report.violations


def look(
    place: FilePlace,
    record: ImageRecord | None,
    allowed: Collection[State] = (QUEUED, State(frozenset({"file"}))),
    leftovers: list[tuple[str, str, str, str]] | None = None,
    rows: dict[str, int] | None = None,
) -> list[str]:
    records = Records({} if record is None else {IMAGE: record}, leftovers or [], rows or {})
    return violations(records, [place], {IMAGE: HELLO}, {IMAGE: allowed}, [IMAGE])


def active(**other: Any) -> ImageRecord:
    return ImageRecord(status="active", size=5, os_hash_algo="sha512", os_hash_value=HELLO.sha512, checksum=None, **other)


@pytest.fixture
def place(tmp_path: Path) -> FilePlace:
    (tmp_path / "file").mkdir()
    return FilePlace("file", tmp_path / "file")


def write(place: FilePlace, name: str, content: bytes) -> None:
    (Path(place.options["path"]) / name).write_bytes(content)


def test_a_good_image_breaks_nothing(place: FilePlace) -> None:
    write(place, IMAGE, b"hello")
    assert look(place, active(locations={"file": "file:///there"})) == []


@pytest.mark.parametrize(
    ("content", "told"), [(None, "does not hold image"), (b"hell", "holds 4 bytes"), (b"hallo", "holds other bytes")]
)
def test_an_object_that_is_not_as_recorded(place: FilePlace, content: bytes | None, told: str) -> None:
    if content is not None:
        write(place, IMAGE, content)
    (found,) = look(place, active(locations={"file": "file:///there"}))
    assert told in found


@pytest.mark.parametrize("name", [IMAGE, f".{IMAGE}.0123456789abcdef.part", "whatever"])
def test_an_object_of_nobody(place: FilePlace, name: str) -> None:
    write(place, name, b"hello")
    (found,) = look(place, ImageRecord("queued", None, None, None, None))
    assert found == f"file holds {name}, which is no image's"


def test_records_that_contradict_themselves(place: FilePlace) -> None:
    properties = {"os_glance_import_task": "x", "os_glance_importing_to_stores": "file"}
    found = look(place, ImageRecord("importing", 5, None, None, None, properties=properties))
    assert len(found) == 4
    assert "active without a location" in " ".join(look(place, active()))
    assert "may be queued" in " ".join(look(place, None, [QUEUED]))
    assert look(place, None, [State()], rows={"journal": 2}) == ["2 rows are left in journal"]


def test_leftovers_that_could_have_been_removed(place: FilePlace) -> None:
    doubt = (IMAGE, "file", "file:///x", "the commit may have taken effect: no answer")
    assert look(place, None, [State()], leftovers=[doubt]) == []
    (found,) = look(place, None, [State()], leftovers=[(IMAGE, "file", "file:///x", "refused")])
    assert found.endswith("file:///x: refused")
