"""Commits that may have taken effect where nobody could look: nothing is forgotten, nothing deleted that may be another's."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from importing_words import LIMITS, FaultyStore, House, assert_holds, assert_settled, content, run, state

from glance_stream.catalogue import Operation, Task
from glance_stream.errors import Leftover, StoreUnavailable
from glance_stream.importing import copy_image, recover
from glance_stream.model import Image
from glance_stream.rollback import IN_DOUBT
from glance_stream.stores.file import FileStore

DATA = content()
OTHER = content(seed=2)
OpenSite = Callable[..., House]
Python = Callable[..., subprocess.Popen[str]]

# argv: root, image id, operation, must or not, store, and the step of that store at which the process dies.
DYING = """
import sys, time
from pathlib import Path
from glance_stream.importing import ImportRequest, copy_image, import_image
from importing_words import content, die, file_stores, open_house, run
root, image_id, operation, must, store, step = sys.argv[1:]
house = open_house(Path(root), file_stores(Path(root), "a", "b", "c", **{store: {step: lambda: (time.sleep(0.3), die())}}))
options = {"all_stores_must_succeed": must == "must"}
if operation == "import":
    run(import_image(house.site, ImportRequest(house.source(content()), image_id, stores=["a", "b"], **options)))
else:
    run(copy_image(house.site, image_id, stores=["b"], **options))
"""


@pytest.fixture
def broken(tmp_path: Path) -> FaultyStore:
    """Store b as this process sees it; its faults come and go."""
    return FaultyStore("b", tmp_path / "stores" / "b")


@pytest.fixture
def house(open_site: OpenSite, tmp_path: Path, broken: FaultyStore) -> House:
    stores = {name: FileStore(name, tmp_path / "stores" / name) for name in ("a", "c")}
    return open_site({**stores, "b": broken}, limits=replace(LIMITS, undo_timeout=0.5))


def die(python: Python, house: House, image_id: str, *how: str) -> None:
    assert python(DYING, house.root, image_id, *how).wait(timeout=20) == -9


def down() -> StoreUnavailable:
    return StoreUnavailable("b", "down")


def only(house: House) -> Leftover:
    """The one leftover on record, whose trace is a writer's and whose reason says that the commit is in doubt."""
    (one,) = (recorded.leftover for recorded in house.catalogue.leftovers())
    assert one.store_id == "b"
    assert one.trace.endswith(".part")
    assert one.reason.startswith(IN_DOUBT)
    return one


@pytest.fixture
def copied(house: House, python: Python, broken: FaultyStore) -> Image:
    """In store c; a copy to b died when it had committed, and b was down when that was recovered."""
    image = house.active(DATA, "c")
    die(python, house, image.image_id, "copy", "must", "b", "after commit")
    broken.faults["find"] = down()
    assert run(recover(house.site)).leftovers == (only(house),)
    assert sorted(house.files()) == [f"b/{image.image_id}", f"c/{image.image_id}"]
    assert house.image(image.image_id).stores == ("c",)
    broken.faults.clear()
    return image


@pytest.mark.parametrize("hangs", [False, True])
def test_after_a_failed_import_an_unknown_object_is_left_to_the_operator(
    house: House, python: Python, broken: FaultyStore, hangs: bool
) -> None:
    """Nothing is known any more of what was verified. It is reported again and again until somebody has looked."""
    before, go = house.queued(), threading.Event()
    die(python, house, before.image_id, "import", "must", "b", "after commit")
    broken.faults["find"] = (lambda: go.wait(20) and None) if hangs else down()
    started = time.monotonic()
    found = run(recover(house.site))
    assert time.monotonic() - started < 5
    go.set()
    assert (found.images, found.leftovers) == ((before.image_id,), (only(house),))
    assert ("no answer within 0.5 s" if hangs else "down") in only(house).reason
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "ab")
    broken.faults.clear()
    for _ in range(2):
        found = run(recover(house.site))
        assert (found.removed, found.leftovers) == ((), (only(house),))
        assert f"{house.directory('b')}/{before.image_id} is there" in only(house).reason
        assert house.object("b", before.image_id) == DATA
    (house.directory("b") / before.image_id).unlink()
    found = run(recover(house.site))
    assert (len(found.removed), found.leftovers, house.catalogue.leftovers()) == (1, (), [])


def test_nothing_there_after_all(house: House, python: Python, broken: FaultyStore) -> None:
    before = house.queued()
    die(python, house, before.image_id, "import", "must", "b", "commit")
    broken.faults |= {"find": down(), "discard": down()}
    assert run(recover(house.site)).leftovers == (only(house),)
    broken.faults.clear()
    found = run(recover(house.site))
    assert (len(found.removed), found.leftovers, house.files()) == (1, (), [])


def test_one_copy_too_many_is_deleted(house: House, copied: Image) -> None:
    found = run(recover(house.site))
    assert (len(found.removed), found.leftovers) == (1, ())
    assert_holds(house, copied.image_id, DATA, "c")


@pytest.mark.parametrize("recorded", [OTHER, None, DATA[:-1]], ids=["damaged", "gone", "short"])
def test_what_may_be_the_only_good_copy_is_left_alone(house: House, copied: Image, recorded: bytes | None) -> None:
    path = house.directory("c") / copied.image_id
    path.unlink() if recorded is None else path.write_bytes(recorded)
    found = run(recover(house.site))
    assert (found.removed, found.leftovers) == ((), (only(house),))
    assert "only good copy" in only(house).reason
    assert house.object("b", copied.image_id) == DATA


@pytest.mark.parametrize("theirs", [OTHER, DATA + b"more"], ids=["other bytes", "other size"])
def test_another_object_is_left_alone(house: House, copied: Image, theirs: bytes) -> None:
    (house.directory("b") / copied.image_id).write_bytes(theirs)
    assert run(recover(house.site)).leftovers == (only(house),)
    assert house.object("b", copied.image_id) == theirs


def test_what_has_been_recorded_since_is_the_images(house: House, copied: Image) -> None:
    (house.directory("b") / copied.image_id).unlink()
    run(copy_image(house.site, copied.image_id, stores=["b"]))
    found = run(recover(house.site))
    assert (len(found.removed), found.leftovers) == (1, ())
    assert_holds(house, copied.image_id, DATA, "b", "c")


def test_an_image_at_work_is_not_touched(house: House, copied: Image) -> None:
    """What another operation has just committed, and not recorded yet, looks just like this."""
    task = Task.here(copied.image_id, Operation.COPY)
    house.catalogue.acquire(copied.image_id, task)
    found = run(recover(house.site))
    assert (found.removed, found.leftovers) == ((), (only(house),))
    assert house.object("b", copied.image_id) == DATA
    house.catalogue.release(task)
    assert len(run(recover(house.site)).removed) == 1


def test_an_image_without_a_record(house: House, copied: Image) -> None:
    task = house.catalogue.acquire(copied.image_id, Task.here(copied.image_id, Operation.DELETE)).task
    house.catalogue.delete_image(copied.image_id, task)
    assert run(recover(house.site)).leftovers == (only(house),)
    assert house.object("b", copied.image_id) == DATA


@pytest.mark.parametrize("store", ["a", "b"])
@pytest.mark.parametrize("step", ["flush", "commit", "after commit"])
@pytest.mark.parametrize("policy", ["must", "best effort"])
def test_what_died_leaves_what_was_there_before_it(house: House, python: Python, policy: str, store: str, step: str) -> None:
    """The very same bytes, of which the records knew nothing. With best effort they were adopted before the other store died."""
    before = house.queued()
    other = "b" if store == "a" else "a"
    house.directory(other).mkdir(parents=True, exist_ok=True)
    (house.directory(other) / before.image_id).write_bytes(DATA)
    die(python, house, before.image_id, "import", policy, store, step)
    found = run(recover(house.site))
    assert (found.images, found.leftovers) == ((before.image_id,), ())
    assert house.files() == [f"{other}/{before.image_id}"]
    assert house.object(other, before.image_id) == DATA
    assert_settled(house, before.image_id, "ab")
    if policy == "best effort" and step != "flush":
        assert_holds(house, before.image_id, DATA, other)
    else:
        assert state(house.image(before.image_id)) == state(before)


@pytest.mark.parametrize("fault", ["hangs", "bug"])
def test_one_store_does_not_keep_recover_from_the_others(house: House, broken: FaultyStore, fault: str) -> None:
    go = threading.Event()
    broken.faults["discard"] = RuntimeError("bug") if fault == "bug" else lambda: go.wait(20) and None
    traces = {name: house.store(name).writer("image").trace for name in "abc"}
    for name, trace in traces.items():
        house.directory(name).mkdir(parents=True, exist_ok=True)
        Path(trace.removeprefix("file://")).touch()
    house.catalogue.record_leftovers("image", [Leftover(name, trace, "busy") for name, trace in traces.items()])
    found = run(recover(house.site), seconds=5)
    go.set()
    assert [one.store_id for one in found.removed] == ["a", "c"]
    assert [one.leftover for one in house.catalogue.leftovers()] == list(found.leftovers)
    assert found.leftovers[0].reason == f"store 'b': {'RuntimeError: bug' if fault == 'bug' else 'no answer within 0.5 s'}"


def test_a_deletion_that_died_is_not_held_up_by_a_store_that_hangs(house: House, broken: FaultyStore) -> None:
    """Where a store can't be asked the location stays."""
    image, go = house.active(DATA, "b", "c"), threading.Event()
    task = Task.here(image.image_id, Operation.DELETE)
    dead = replace(task.process, pid=2**22 - 1)  # it held the lock, and had deleted nothing
    house.catalogue.acquire(image.image_id, replace(task, process=dead))
    broken.faults["stat"] = lambda: go.wait(20) and None
    found = run(recover(house.site), seconds=5)
    go.set()
    assert found.images == (image.image_id,)
    assert house.image(image.image_id).stores == ("b", "c")
