"""A process that was killed in mid-transfer, and the same command again: it goes on, and the image is the same."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing_words import SLOT, CountingSource, House, assert_holds, assert_settled, content, run, state
from sqlalchemy import text

from glance_stream.errors import ImageLocked, ImportFailed, InvalidRequest, SourceError
from glance_stream.importing import copy_image, recover
from glance_stream.model import Status

DATA = content(12 * SLOT + 123)
CUT = 7 * SLOT + 99  # of which seven slots were written
STORES = ("a", "b", "c")
Python = Callable[..., subprocess.Popen[str]]

# argv: root, image id, operation, the FIFO that is read instead of the source, and the stores.
FROM_FIFO = """
import sys
from pathlib import Path
from glance_stream.importing import ImportRequest, copy_image, import_image
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from importing_words import open_house, run
root, image_id, operation, fifo, *stores = sys.argv[1:]
house = open_house(Path(root))
if operation == "import":
    run(import_image(house.site, ImportRequest(PathSource(fifo), image_id, stores=stores)))
else:
    FileStore.open_reader = lambda self, location: PathSource(fifo)
    run(copy_image(house.site, image_id, stores=stores))
"""


def temporaries(house: House) -> list[Path]:
    return [house.root / "stores" / name for name in house.files() if name.endswith(".part")]


@pytest.fixture
def killed(house: House, python: Python) -> Callable[..., None]:
    """Kill -9 an operation once its stores hold what of the image has come."""

    def kill(image_id: str, operation: str, *stores: str, data: bytes = DATA, cut: int = CUT) -> None:
        fifo = house.root / "fifo"
        if not fifo.exists():
            os.mkfifo(fifo)
        process = python(FROM_FIFO, house.root, image_id, operation, fifo, *stores)
        with open(fifo, "wb", buffering=0) as writer:
            left = memoryview(data[:cut])
            while left:
                left = left[writer.write(left[:4096]) :]
            deadline = time.monotonic() + 30
            while [path.stat().st_size for path in temporaries(house)] != [cut - cut % SLOT] * len(stores):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
            process.wait()

    return kill


def notes_of(notes: tuple[str, ...]) -> dict[str, int]:
    """Store -> bytes that were there already, as told to the user."""
    told = [note.split(": continued an interrupted transfer, ") for note in notes if "continued" in note]
    return {store: int(rest.split(" of ")[0]) for store, rest in told}


def test_the_same_import_goes_on(house: House, killed: Callable[..., None]) -> None:
    image_id = house.queued().image_id
    killed(image_id, "import", *STORES)
    files = [path.name for path in temporaries(house)]
    outcome = house.import_(DATA, image_id=image_id, stores=list(STORES))
    assert_holds(house, image_id, DATA, *STORES)
    assert_settled(house, image_id, STORES)
    assert len(files) == 3
    assert notes_of(outcome.notes) == dict.fromkeys(STORES, CUT - CUT % SLOT)
    assert any("took the image over" in note for note in outcome.notes)
    assert run(recover(house.site)).images == ()


def test_the_same_copy_goes_on(house: House, killed: Callable[..., None]) -> None:
    image_id = house.active(DATA, "a").image_id
    killed(image_id, "copy", "b", "c")
    outcome = run(copy_image(house.site, image_id, stores=["b", "c"]))
    assert_holds(house, image_id, DATA, *STORES)
    assert_settled(house, image_id, STORES)
    assert notes_of(outcome.notes) == dict.fromkeys("bc", CUT - CUT % SLOT)


def test_another_source_gives_its_own_bytes(house: House, killed: Callable[..., None]) -> None:
    """The source was changed in between: of what was there nothing is kept that is not the same."""
    image_id = house.queued().image_id
    killed(image_id, "import", *STORES)
    changed = DATA[: 2 * SLOT] + content(13 * SLOT, seed=9)
    outcome = house.import_(changed, image_id=image_id, stores=list(STORES))
    assert_holds(house, image_id, changed, *STORES)
    assert notes_of(outcome.notes) == dict.fromkeys(STORES, 2 * SLOT)


def test_a_shorter_image_is_not_longer_for_what_was_there(house: House, killed: Callable[..., None]) -> None:
    image_id = house.queued().image_id
    killed(image_id, "import", *STORES)
    house.import_(DATA[:SLOT], image_id=image_id, stores=list(STORES))
    assert_holds(house, image_id, DATA[:SLOT], *STORES)


def test_other_stores_are_rolled_back_or_begun(house: House, killed: Callable[..., None]) -> None:
    image_id = house.queued().image_id
    killed(image_id, "import", "a", "b")
    outcome = house.import_(DATA, image_id=image_id, stores=["b", "c"])
    assert_holds(house, image_id, DATA, "b", "c")
    assert_settled(house, image_id, "abc")
    assert house.lists(image_id) == ("", "a")
    assert notes_of(outcome.notes) == {"b": CUT - CUT % SLOT}


def test_restart_writes_all_anew(house: House, killed: Callable[..., None]) -> None:
    image_id = house.queued().image_id
    killed(image_id, "import", *STORES)
    outcome = house.import_(DATA, image_id=image_id, stores=list(STORES), restart=True)
    assert_holds(house, image_id, DATA, *STORES)
    assert notes_of(outcome.notes) == {}
    killed_again = house.active(DATA, "a").image_id
    killed(killed_again, "copy", "b")
    assert notes_of(run(copy_image(house.site, killed_again, stores=["b"], restart=True)).notes) == {}


def test_killed_again_and_again(house: House, killed: Callable[..., None]) -> None:
    image_id = house.queued().image_id
    for slots in (2, 5, 9):
        killed(image_id, "import", *STORES, cut=slots * SLOT + 7)
        assert len(temporaries(house)) == 3
    outcome = house.import_(DATA, image_id=image_id, stores=list(STORES))
    assert_holds(house, image_id, DATA, *STORES)
    assert notes_of(outcome.notes) == dict.fromkeys(STORES, 9 * SLOT)


def test_recover_rolls_back(house: House, killed: Callable[..., None]) -> None:
    before = house.queued()
    killed(before.image_id, "import", *STORES)
    assert run(recover(house.site)).images == (before.image_id,)
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)


def test_another_operation_rolls_back(house: House, killed: Callable[..., None]) -> None:
    """A copy's leavings are none of an import's business, and the other way round; an active image has no import."""
    image_id = house.active(DATA, "a").image_id
    killed(image_id, "copy", "b")
    with pytest.raises(InvalidRequest):
        house.import_(DATA, image_id=image_id, stores=["b"])
    run(copy_image(house.site, image_id, stores=["c"]))
    assert_holds(house, image_id, DATA, "a", "c")
    assert_settled(house, image_id, "abc")


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_failure_leaves_nothing(house: House, killed: Callable[..., None], when: str) -> None:
    before = house.queued()
    killed(before.image_id, "import", *STORES)

    class Failing(CountingSource):
        def readinto(self, view: memoryview) -> int:
            if when == "at once" or self.given > 9 * SLOT:
                raise SourceError("broken")
            return super().readinto(view)

    with pytest.raises(SourceError):
        house.import_(Failing(DATA), image_id=before.image_id, stores=list(STORES))
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, STORES)


def test_a_name_that_was_taken_meanwhile(house: House, killed: Callable[..., None]) -> None:
    before = house.queued()
    killed(before.image_id, "import", *STORES)
    (house.directory("b") / before.image_id).write_bytes(b"another's")
    house.beside.add(f"b/{before.image_id}")
    with pytest.raises(ImportFailed):
        house.import_(DATA, image_id=before.image_id, stores=list(STORES))
    assert house.files() == []
    assert house.image(before.image_id).status is Status.QUEUED
    assert_settled(house, before.image_id, STORES)


def test_a_refusal_after_the_image_was_taken_over_leaves_nothing_and_no_lock(
    house: House, killed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = house.queued()
    killed(before.image_id, "import", *STORES)

    def refuse(*_: object, **__: object) -> None:
        raise InvalidRequest("not now")

    with monkeypatch.context() as patch:
        patch.setattr(house.catalogue, "begin_again", refuse)
        with pytest.raises(InvalidRequest):
            house.import_(DATA, image_id=before.image_id, stores=list(STORES))
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, STORES)


DYING = """
import sys
from pathlib import Path
from glance_stream.importing import ImportRequest, import_image
from importing_words import content, die, file_stores, open_house, run
root, image_id, step = sys.argv[1:]
house = open_house(Path(root), file_stores(Path(root), a={step: die}, b={step: die}))
run(import_image(house.site, ImportRequest(house.source(content()), image_id, all_stores=True)))
"""


@pytest.mark.parametrize("step", ["open", "flush", "commit", "after commit"])
def test_killed_at_a_step_of_a_store(python: Python, house: House, step: str) -> None:
    """Before its directory is made there is nothing to go on with. Once a store may have committed, that is settled first."""
    image_id = house.queued().image_id
    data = content()
    assert python(DYING, house.root, image_id, step).wait(timeout=60) == -9
    outcome = house.import_(data, image_id=image_id, stores=["a", "b"])
    assert notes_of(outcome.notes) == (dict.fromkeys("ab", len(data)) if step == "flush" else {})
    assert_holds(house, image_id, data, "a", "b")
    assert_settled(house, image_id, "ab")


def test_a_holder_that_lives_is_not_disturbed(house: House, python: Python) -> None:
    image_id = house.queued().image_id
    fifo = house.root / "fifo"
    os.mkfifo(fifo)
    process = python(FROM_FIFO, house.root, image_id, "import", fifo, "a")
    with open(fifo, "wb", buffering=0) as writer:
        begun = writer.write(DATA[: 2 * SLOT])
        deadline = time.monotonic() + 30
        while not temporaries(house):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(ImageLocked):
            house.import_(DATA, image_id=image_id, stores=["a"])
        while begun < len(DATA):
            begun += writer.write(DATA[begun : begun + 4096])
    assert process.wait(timeout=60) == 0
    assert_holds(house, image_id, DATA, "a")


def test_what_was_recorded_at_the_last_moment_is_ended_and_not_gone_on_with(
    house: House, killed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COMMIT of the dead process took effect when its journal had been read. This process does not keep the image for that."""
    image_id = house.queued().image_id
    killed(image_id, "import", *STORES)
    real = house.catalogue.take_over

    def take_over(*given: Any) -> Any:
        with house.catalogue._database.write() as connection:
            connection.execute(text("UPDATE operations SET verified_size = 1"))
        return real(*given)

    with monkeypatch.context() as late:
        late.setattr(house.catalogue, "take_over", take_over)
        with pytest.raises(ImageLocked, match="try again"):
            house.import_(DATA, image_id=image_id, stores=list(STORES))
    assert house.files() == []
    assert_settled(house, image_id, STORES)
    house.import_(DATA, image_id=image_id, stores=list(STORES))
    assert_holds(house, image_id, DATA, *STORES)


def test_a_location_that_can_not_even_be_opened_costs_nothing_that_was_there(house: House, killed: Callable[..., None]) -> None:
    image_id = house.active(DATA, "a", "b").image_id
    killed(image_id, "copy", "c")
    with house.catalogue._database.write() as connection:
        connection.execute(text("UPDATE image_locations SET url = 'file:///elsewhere/x' WHERE store_id = 'a'"))
    outcome = run(copy_image(house.site, image_id, stores=["c"]))
    assert notes_of(outcome.notes) == {"c": CUT - CUT % SLOT}
    assert house.object("c", image_id) == DATA
    assert temporaries(house) == []
