"""The lease of an operation: renewed in every phase, lost by who is silent, taken over by the next command (AC20 to AC23)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import FaultyStore, HeldSource, House, assert_holds, assert_settled, content, file_stores, run, state, until

from glance_stream.catalogue import Catalogue
from glance_stream.errors import CatalogueError, ImageLocked, ImageNotFound, LockLost, StoreUnavailable
from glance_stream.importing import ImportRequest, copy_image, delete_from_store, delete_image, import_image, recover
from glance_stream.importing.recover import foresee
from glance_stream.model import Status

DATA, OTHER = content(), content(seed=2)
PATIENCE = 60.0
OpenSite = Callable[..., House]
Python = Callable[..., subprocess.Popen[str]]

# argv: root, image id, operation, the step of store b at which the process stops or dies, and by which signal. Prints how it ended.
MEETING = """
import os, signal, sys, threading
from pathlib import Path
from glance_stream.importing import ImportRequest, copy_image, delete_image, import_image, recover
from importing_words import content, file_stores, open_house, run
root, image_id, operation, step, number = sys.argv[1:]

between = threading.Lock()  # who is stopped inside a transaction of SQLite holds up everybody, whatever the lease

def meet():
    house.site.stores["b"].faults.clear()
    with between:
        os.kill(os.getpid(), int(number))

def change(*arguments, **options):
    with between:
        return real(*arguments, **options)

house = open_house(Path(root), file_stores(Path(root), "a", b={} if step == "deleted" else {step: meet}))
if step == "deleted":  # the data is, and the record is not
    house.catalogue.delete_image = lambda *_: meet()
house.catalogue.lease = 1.0
real, house.catalogue._database.change = house.catalogue._database.change, change
try:
    if operation == "import":
        run(import_image(house.site, ImportRequest(house.source(content(), "its.img"), image_id, all_stores=True)), 120)
    elif operation == "copy":
        run(copy_image(house.site, image_id, all_stores=True), 120)
    elif operation == "delete":
        run(delete_image(house.site, image_id), 120)
    else:
        run(recover(house.site), 120)
except Exception as error:
    print(type(error).__name__, error, flush=True)
else:
    print("done", flush=True)
"""


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)


def is_stopped(process: subprocess.Popen[str]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def fall_silent(house: House, python: Python, image_id: str, operation: str, step: str) -> subprocess.Popen[str]:
    """A process that has stopped at this step, and its lease has ended."""
    process = python(MEETING, house.root, image_id, operation, step, int(signal.SIGSTOP))
    wait_for(lambda: is_stopped(process))

    def expired() -> bool:
        holder = house.catalogue.holder(image_id)
        assert holder is not None
        return holder.is_expired

    wait_for(expired)
    return process


def wake(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=PATIENCE)[0]


@pytest.fixture
def two(open_site: OpenSite) -> House:
    return open_site(["a", "b"])


@pytest.mark.parametrize("step", ["open", "write", "commit", "after commit"])
def test_who_was_silent_commits_nothing_and_harms_nothing(two: House, python: Python, step: str) -> None:
    """AC22, at every step: another has imported other bytes under the id meanwhile, into the same stores."""
    image_id = two.queued().image_id
    process = fall_silent(two, python, image_id, "import", step)
    outcome = two.import_(OTHER, image_id=image_id, all_stores=True)
    (note,) = outcome.notes
    assert f"took the image over from import by process {process.pid} " in note
    assert_holds(two, image_id, OTHER, "a", "b")
    ended = wake(process)
    assert ended.split()[0] in ("LockLost", "ImportFailed"), ended
    assert_holds(two, image_id, OTHER, "a", "b")
    assert_settled(two, image_id, "ab")
    assert two.catalogue.leftovers() == []


def test_who_was_silent_in_a_copy(two: House, python: Python) -> None:
    image_id = two.active(DATA, "a").image_id
    process = fall_silent(two, python, image_id, "copy", "after commit")
    run(copy_image(two.site, image_id, stores=["b"]))
    assert_holds(two, image_id, DATA, "a", "b")
    assert wake(process).split()[0] != "done"
    assert_holds(two, image_id, DATA, "a", "b")


def test_who_was_silent_in_a_deletion(two: House, python: Python) -> None:
    """It had not come to the data of store b. What is copied there meanwhile, it does not delete when it wakes."""
    image_id = two.active(DATA, "a", "b").image_id
    process = fall_silent(two, python, image_id, "delete", "delete")
    run(recover(two.site))
    before = two.image(image_id)
    assert before.status is Status.ACTIVE
    ended = wake(process)  # it was inside the deletion of that object: what it removes there is what it had recorded
    assert ended.split()[0] != "done"
    assert two.catalogue.holder(image_id) is None


@pytest.mark.parametrize("step", ["open", "after commit"])
def test_the_next_import_takes_a_dead_ones_place_at_once(two: House, python: Python, step: str) -> None:
    """AC21. Its lease has long to run: that the process is dead is enough."""
    image_id = two.queued().image_id
    process = python(MEETING, two.root, image_id, "import", step, int(signal.SIGKILL))
    assert process.wait(PATIENCE) == -signal.SIGKILL
    outcome = two.import_(OTHER, image_id=image_id, all_stores=True)
    assert "took the image over" in outcome.notes[0]
    assert_holds(two, image_id, OTHER, "a", "b")
    assert_settled(two, image_id, "ab")


def test_the_next_copy_and_the_next_deletion_do_too(two: House, python: Python) -> None:
    image_id = two.active(DATA, "a").image_id
    process = python(MEETING, two.root, image_id, "copy", "flush", int(signal.SIGKILL))
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert "took the image over" in run(copy_image(two.site, image_id, stores=["b"])).notes[0]
    assert_holds(two, image_id, DATA, "a", "b")
    run(delete_from_store(two.site, image_id, "b"))
    process = python(MEETING, two.root, image_id, "copy", "flush", int(signal.SIGKILL))
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert "took the image over" in run(delete_image(two.site, image_id)).notes[0]
    assert two.files() == []


@pytest.mark.parametrize(("died_at", "step"), [("commit", "discard"), ("after commit", "delete")])
def test_a_taker_that_dies_in_the_roll_back(two: House, python: Python, died_at: str, step: str) -> None:
    """And the next one finishes: what is to be undone goes from hand to hand with the lock."""
    image_id = two.queued().image_id
    before = state(two.image(image_id))
    for operation, where in (("import", died_at), ("recover", step)):
        process = python(MEETING, two.root, image_id, operation, where, int(signal.SIGKILL))
        process.wait(PATIENCE)
    foreseen = run(foresee(two.site))
    done = run(recover(two.site))
    assert (done.images, done.discarded) == (foreseen.images, foreseen.discarded)
    assert state(two.image(image_id)) == before
    assert two.files() == []
    assert_settled(two, image_id, "ab")


def test_a_taker_that_falls_silent_in_the_roll_back(two: House, python: Python) -> None:
    """A third has ended it, and imported: nothing of that is removed when the second wakes, though it was about to delete by name.

    It was stopped for longer than one step of a rollback may take, and so gives that step up before anything else.
    """
    image_id = two.queued().image_id
    python(MEETING, two.root, image_id, "import", "after commit", int(signal.SIGKILL)).wait(PATIENCE)
    process = fall_silent(two, python, image_id, "recover", "delete")
    time.sleep(two.site.limits.undo_timeout)  # which is shorter than any lease that is meant
    two.import_(OTHER, image_id=image_id, all_stores=True)
    wake(process)
    assert_holds(two, image_id, OTHER, "a", "b")
    assert_settled(two, image_id, "ab")


def test_a_deletion_that_can_not_be_judged_keeps_its_image(open_site: OpenSite, tmp_path: Path, python: Python) -> None:
    house = open_site(file_stores(tmp_path, "a", b={}))
    image_id = house.active(DATA, "a", "b").image_id
    python(MEETING, house.root, image_id, "delete", "delete", int(signal.SIGKILL)).wait(PATIENCE)
    store = house.store("b")
    assert isinstance(store, FaultyStore)
    store.faults["stat"] = StoreUnavailable("b", "down")
    with pytest.raises(ImageLocked, match=r"can't be told .* run 'glance-stream recover' when the store answers"):
        run(copy_image(house.site, image_id, all_stores=True))
    assert house.catalogue.holder(image_id) is not None
    store.faults.clear()
    assert "took the image over" in run(delete_image(house.site, image_id)).notes[0]
    assert house.files() == []


def test_a_deletion_of_which_only_the_record_was_left(two: House, python: Python) -> None:
    image_id = two.active(DATA, "b").image_id
    python(MEETING, two.root, image_id, "delete", "deleted", int(signal.SIGKILL)).wait(PATIENCE)
    with pytest.raises(ImageNotFound, match="is deleted now: took the image over from delete by process"):
        run(delete_image(two.site, image_id))
    assert two.files() == []


# -- renewing ---------------------------------------------------------------------------------------------------------------------


class Signs:
    """Waits, wherever it is called, until the holder has given a sign of life."""

    def __init__(self) -> None:
        self.catalogue: Catalogue | None = None
        self.phases: list[str] = []

    def __call__(self) -> None:
        assert self.catalogue is not None
        first = self.catalogue.interrupted()[0].task

        def renewed() -> bool:
            assert self.catalogue is not None
            (now,) = self.catalogue.interrupted()
            if now.task.updated_at <= first.updated_at:
                return False
            self.phases.append(now.task.message.partition(",")[0])
            return True

        wait_for(renewed)


class SignOfSource(HeldSource):
    def __init__(self, sign: Signs) -> None:
        super().__init__(DATA)
        self.sign = sign

    def readinto(self, view: memoryview) -> int:
        if self.given == 0:
            self.sign()
        self.go.set()
        return super().readinto(view)


def test_the_lease_is_renewed_in_every_phase(open_site: OpenSite, tmp_path: Path) -> None:
    """AC23: reading, opening, writing, flushing, committing, rolling back, verifying, deleting, recovering."""
    sign = Signs()
    steps = ("open", "write", "flush", "commit", "after commit", "delete")
    house = open_site(file_stores(tmp_path, "a", b=dict.fromkeys(steps, sign), c={}))
    sign.catalogue, house.catalogue.lease = Catalogue(f"sqlite:///{tmp_path}/catalogue.db"), 1.0
    with sign.catalogue:
        image = run(import_image(house.site, ImportRequest(SignOfSource(sign), stores=["a", "b"])), PATIENCE).image
        assert len(sign.phases) == 6
        assert {"flushing", "committing"} <= set(sign.phases)
        faulty = house.store("b")
        assert isinstance(faulty, FaultyStore)
        faulty.faults["stat"] = sign  # asked whether there is another copy, before one is deleted
        run(delete_from_store(house.site, image.image_id, "a"), PATIENCE)
        faulty.faults["abort"] = sign
        faulty.faults["commit"] = StoreUnavailable("b", "no")
        run(copy_image(house.site, image.image_id, stores=["a"], source_store="b"), PATIENCE)
        run(delete_from_store(house.site, image.image_id, "b"), PATIENCE)
        assert sign.phases[-1] == "deleting from b"
    assert_holds(house, image.image_id, DATA, "a")


def test_what_makes_no_progress_is_taken_over_and_ends(house: House) -> None:
    """It lives, and renews nothing; who takes the image over is not waited for, and neither is its source."""
    image_id = house.queued().image_id
    house.catalogue.lease = 1.0

    async def scenario() -> None:
        source = HeldSource(DATA)
        stuck = asyncio.ensure_future(import_image(house.site, ImportRequest(source, image_id, stores=["a", "b"])))
        await until(source.waiting)
        wanted = time.monotonic() + PATIENCE
        while True:  # refused until the lease has ended
            try:
                await import_image(house.site, ImportRequest(house.source(OTHER), image_id, stores=["a"]))
                break
            except ImageLocked:
                assert time.monotonic() < wanted
                await asyncio.sleep(0.05)
        with pytest.raises(LockLost):
            await stuck

    run(scenario(), 2 * PATIENCE)
    assert_holds(house, image_id, OTHER, "a")
    assert_settled(house, image_id, "ab")


def test_a_catalogue_that_is_away_for_a_while_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for longer than the lease: then the lock may be another's, so the holder stops by itself."""
    house.catalogue.lease = 2.0
    real, asked = house.catalogue.renew, 0

    def away(*arguments: object, **options: object) -> None:
        nonlocal asked
        asked += 1
        if asked != 2:  # it was back for a moment
            raise CatalogueError("gone")
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(house.catalogue, "renew", away)
    image_id = house.queued().image_id
    with pytest.raises(LockLost, match="could not be renewed for 2 s"):
        run(import_image(house.site, ImportRequest(HeldSource(DATA), image_id, stores=["a", "b"])), PATIENCE)
    assert asked > 3
    assert house.files() == []
    assert_settled(house, image_id, "ab")
    assert house.image(image_id).status is Status.QUEUED


def test_a_cancellation_stays_one(house: House) -> None:
    """What cancels the operation from outside is not taken for the loss of its lease."""
    image_id = house.queued().image_id

    async def scenario() -> None:
        source = HeldSource(DATA)
        importing = asyncio.ensure_future(import_image(house.site, ImportRequest(source, image_id, stores=["a"])))
        await until(source.waiting)
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing

    run(scenario())
    assert_settled(house, image_id, "a")


def test_the_holder_of_another_process_is_told_of(house: House) -> None:
    source = HeldSource(DATA)
    image_id = house.queued().image_id

    async def scenario() -> None:
        importing = asyncio.ensure_future(import_image(house.site, ImportRequest(source, image_id, stores=["a"])))
        await until(source.waiting)
        held = await recover(house.site)
        assert held.images == ()
        assert f"import by process {os.getpid()}" in held.held[0]
        source.go.set()
        await importing

    run(scenario())
