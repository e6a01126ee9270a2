"""Dead processes, and what `recover` makes of what they left (AC21)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import (
    FaultyStore,
    HeldSource,
    House,
    assert_holds,
    assert_settled,
    content,
    file_stores,
    run,
    state,
    until,
)

from glance_stream.errors import ImageLocked, ImportFailed, StoreFull
from glance_stream.importing import ImportRequest, copy_image, delete_from_store, delete_image, import_image, recover
from glance_stream.model import Status
from glance_stream.stores.file import FileStore

DATA = content()
OpenSite = Callable[..., House]
Python = Callable[..., subprocess.Popen[str]]

FROM_FIFO = """
import sys
from pathlib import Path
from glance_stream.importing import ImportRequest, import_image
from glance_stream.sources import PathSource
from importing_words import open_house, run
root, image_id, fifo, must = sys.argv[1:]
house = open_house(Path(root))
run(import_image(house.site, ImportRequest(PathSource(fifo), image_id, all_stores=True, all_stores_must_succeed=must == "must")))
"""

# argv: root, image id, operation, must or not, and the step of store b at which the process dies. Stores a and c wait for that.
DYING = """
import sys, time
from pathlib import Path
from glance_stream.importing import ImportRequest, copy_image, delete_image, import_image
from importing_words import content, die, file_stores, open_house, run
root, image_id, operation, must, step = sys.argv[1:]

def die_when_recorded():  # store a has had time to commit and to be recorded
    if step != "flush":
        time.sleep(0.5)
    die()

house = open_house(Path(root), file_stores(Path(root), "a", b={step: die_when_recorded}))
options = {"all_stores": True, "all_stores_must_succeed": must == "must"}
if operation == "import":
    run(import_image(house.site, ImportRequest(house.source(content()), image_id, **options)))
elif operation == "copy":
    run(copy_image(house.site, image_id, **options))
else:
    run(delete_image(house.site, image_id))
"""


def die_by(process: subprocess.Popen[str]) -> None:
    assert process.wait(timeout=60) == -9


def temporaries(house: House) -> list[str]:
    return [name for name in house.files() if name.endswith(".part")]


@pytest.mark.parametrize("must", ["must", "best effort"])
def test_ac21_killed_in_mid_transfer(house: House, python: Python, must: str) -> None:
    """Rolled back: temporary files gone, queued again, the lock free, and the same import works."""
    before = house.queued()
    fifo = house.root / "fifo"
    os.mkfifo(fifo)
    process = python(FROM_FIFO, house.root, before.image_id, fifo, must)
    with open(fifo, "wb", buffering=0) as writer:
        for start in range(0, len(DATA) // 2, 4096):
            writer.write(DATA[start : start + 4096])
        deadline = time.monotonic() + 10
        while len(temporaries(house)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert house.image(before.image_id).status is Status.IMPORTING
        found = run(recover(house.site))  # its holder lives: not touched
        assert (found.images, len(found.held)) == ((), 1)
        assert len(temporaries(house)) == 3
        with pytest.raises(ImageLocked):
            house.import_(DATA, image_id=before.image_id)
        process.kill()
        process.wait()
    found = run(recover(house.site))
    assert (found.images, found.held, found.leftovers) == ((before.image_id,), (), ())
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)
    assert house.lists(before.image_id) == ("", "a,b,c")
    assert_settled(house, before.image_id, "abc")
    house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert_holds(house, before.image_id, DATA, "a", "b", "c")
    assert run(recover(house.site)).images == ()


@pytest.mark.parametrize("step", ["open", "flush", "commit", "after commit"])
def test_ac21_an_all_must_import_killed_at_a_store(house: House, python: Python, step: str) -> None:
    """Before a commit took effect, and after it but before it was recorded: no object stays."""
    before = house.queued()
    die_by(python(DYING, house.root, before.image_id, "import", "must", step))
    assert house.image(before.image_id).status is Status.IMPORTING
    if step in ("commit", "after commit"):
        assert f"a/{before.image_id}" in house.files()
    assert (f"b/{before.image_id}" in house.files()) == (step == "after commit")
    found = run(recover(house.site))
    assert (found.images, found.leftovers) == ((before.image_id,), ())
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "abc")


@pytest.mark.parametrize("step", ["commit", "after commit"])
def test_ac21_a_best_effort_import_killed_after_its_first_location(house: House, python: Python, step: str) -> None:
    """It was active with that location, and stays so; the other store has nothing and is listed with its reason."""
    before = house.queued()
    die_by(python(DYING, house.root, before.image_id, "import", "best effort", step))
    assert house.image(before.image_id).stores == ("a",)
    found = run(recover(house.site))
    assert (found.images, found.leftovers) == ((before.image_id,), ())
    assert_holds(house, before.image_id, DATA, "a")
    assert house.lists(before.image_id) == ("", "b")
    assert_settled(house, before.image_id, "ab")
    assert house.catalogue.fingerprints(before.image_id) is not None


@pytest.mark.parametrize("must", ["must", "best effort"])
@pytest.mark.parametrize("step", ["flush", "commit", "after commit"])
def test_ac21_a_copy_killed_at_a_store(open_site: OpenSite, tmp_path: Path, python: Python, step: str, must: str) -> None:
    """What the image had stays. With best effort, what the copy had recorded stays too."""
    house = open_site(file_stores(tmp_path, "a", "b", "c"))
    before = house.active(DATA, "c")
    script = DYING.replace('file_stores(Path(root), "a", ', 'file_stores(Path(root), "c", "a", ')
    die_by(python(script, house.root, before.image_id, "copy", must, step))
    run(recover(house.site))
    kept = ["a"] if must != "must" and step != "flush" else []
    assert_holds(house, before.image_id, DATA, "c", *kept)
    assert_settled(house, before.image_id, "ab")


@pytest.mark.parametrize("step", ["delete"])
def test_ac21_a_deletion_killed_in_the_middle(house: House, python: Python, step: str) -> None:
    """What is recorded has its data; the deletion can be given again."""
    image_id = house.active(DATA, "a", "b").image_id
    die_by(python(DYING, house.root, image_id, "delete", "must", step))
    run(recover(house.site))
    assert_holds(house, image_id, DATA, "b")
    assert_settled(house, image_id, "ab")
    run(delete_image(house.site, image_id))
    assert (house.files(), house.catalogue.list_images()) == ([], [])


@pytest.mark.parametrize("step", ["flush", "after commit"])
def test_recover_where_a_store_refuses_records_the_leftover_and_later_removes_it(
    open_site: OpenSite, python: Python, tmp_path: Path, step: str
) -> None:
    refusing = FaultyStore("b", tmp_path / "stores" / "b", {"discard": StoreFull("b", "no"), "delete": StoreFull("b", "no")})
    house = open_site({"a": FileStore("a", tmp_path / "stores" / "a"), "b": refusing})
    before = house.queued()
    die_by(python(DYING, house.root, before.image_id, "import", "must", step))
    found = run(recover(house.site))
    assert found.images == (before.image_id,)
    assert {left.store_id for left in found.leftovers} == {"b"}
    assert all(name.startswith("b/") for name in house.files())
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "ab")
    refusing.faults.clear()
    found = run(recover(house.site))
    assert (found.leftovers, house.files(), house.catalogue.leftovers()) == ((), [], [])


@pytest.mark.parametrize("step", ["flush", "after commit"])
def test_a_recorded_leftover_of_a_failed_import_is_removed_later(open_site: OpenSite, tmp_path: Path, step: str) -> None:
    faults = {"abort": StoreFull("a", "no"), "delete": StoreFull("a", "no"), "discard": StoreFull("a", "no")}
    house = open_site(file_stores(tmp_path, a=faults, b={step: StoreFull("b", "full")}))
    before = house.queued()
    with pytest.raises(ImportFailed):
        house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert len(house.files()) == 1
    found = run(recover(house.site))
    assert (found.images, [left.store_id for left in found.leftovers]) == ((), ["a"])
    for store_id in "ab":
        store = house.store(store_id)
        assert isinstance(store, FaultyStore)
        store.faults.clear()
    found = run(recover(house.site))
    assert ([left.store_id for left in found.removed], found.leftovers, house.files()) == (["a"], (), [])
    assert run(recover(house.site)).removed == ()
    house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert_holds(house, before.image_id, DATA, "a", "b")


# -- live holders -----------------------------------------------------------------------------------------------------------------


def test_ac20_two_imports_of_one_image_in_two_tasks(house: House) -> None:
    """AC20: exactly one goes on, the other is refused at once without having opened its source. And `recover` keeps off."""

    async def scenario() -> None:
        held, second = HeldSource(DATA), HeldSource(DATA)
        first = asyncio.ensure_future(import_image(house.site, ImportRequest(held, before.image_id, all_stores=True)))
        await until(held.waiting)
        started = time.monotonic()
        with pytest.raises(ImageLocked, match="import by process"):
            await import_image(house.site, ImportRequest(second, before.image_id, all_stores=True))
        assert time.monotonic() - started < 1
        assert second.opened == 0
        assert len((await recover(house.site)).held) == 1
        with pytest.raises(ImageLocked):
            await delete_image(house.site, before.image_id)
        held.go.set()
        await first

    before = house.queued()
    run(scenario())
    assert_holds(house, before.image_id, DATA, "a", "b", "c")
    assert_settled(house, before.image_id, "abc")


RACING = """
import sys
from pathlib import Path
from glance_stream.errors import GlanceStreamError
from glance_stream.importing import ImportRequest, import_image
from importing_words import CountingSource, content, open_house, run
root, image_id = sys.argv[1:]
house = open_house(Path(root))
source = CountingSource(content())
print("ready", flush=True)
sys.stdin.readline()
try:
    run(import_image(house.site, ImportRequest(source, image_id, all_stores=True)))
    print("done", source.opened)
except GlanceStreamError as error:
    print(type(error).__name__, source.opened)
house.catalogue.close()
"""


@pytest.mark.parametrize("fresh", [True, False])
def test_ac20_imports_of_one_image_in_many_processes(house: House, python: Python, fresh: bool) -> None:
    """AC20: one is done; the others are refused, without their sources having been opened. Also where none has a record yet."""
    image_id = "4f1f65a6-0a4c-4a1e-9b0e-0d3f3a9d8f11" if fresh else house.queued().image_id
    processes = [python(RACING, house.root, image_id) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert answers.count("done 1") == 1
    # One that came after the first had ended meets an active image.
    assert set(answers) <= {"done 1", "ImageLocked 0", "InvalidRequest 0"}
    assert_holds(house, image_id, DATA, "a", "b", "c")
    assert_settled(house, image_id, "abc")


def test_two_creations_of_one_id_at_once_are_no_bad_request(house: House) -> None:
    """Who comes second to the record meets the lock, and not 'in the catalogue already'."""

    async def scenario() -> list[object]:
        sources = [HeldSource(DATA), HeldSource(DATA)]
        for source in sources:
            source.go.set()
        requests = [ImportRequest(source, "4f1f65a6-0a4c-4a1e-9b0e-0d3f3a9d8f11") for source in sources]
        return await asyncio.gather(*(import_image(house.site, request) for request in requests), return_exceptions=True)

    ended = sorted(type(one).__name__ for one in run(scenario()))
    assert ended == ["ImageLocked", "Outcome"]


def test_copies_and_deletions_during_a_copy_are_refused(open_site: OpenSite, tmp_path: Path) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go.wait(10)

    house = open_site(file_stores(tmp_path, "a", "b", "d", c={"flush": wait}))
    image_id = house.active(DATA, "a", "b").image_id

    async def scenario() -> None:
        copying = asyncio.ensure_future(copy_image(house.site, image_id, stores=["c"]))
        await until(reached)
        for other in (
            copy_image(house.site, image_id, stores=["d"]),
            delete_from_store(house.site, image_id, "a"),
            delete_image(house.site, image_id),
        ):
            with pytest.raises(ImageLocked, match="copy by process"):
                await other
        assert (await recover(house.site)).images == ()
        go.set()
        await copying

    run(scenario())
    assert_holds(house, image_id, DATA, "a", "b", "c")
    assert_settled(house, image_id, "abc")


def test_a_recovery_with_nothing_to_do(house: House) -> None:
    house.active(DATA)
    writes = len(house.catalogue.history)
    found = run(recover(house.site))
    assert (found.images, found.held, found.removed, found.leftovers) == ((), (), (), ())
    assert len(house.catalogue.history) == writes
