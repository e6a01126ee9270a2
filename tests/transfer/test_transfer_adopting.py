"""A store that has an object under the image's name already: it is the image's if it is the image, and nobody ever touches it."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from faults.fault import PATIENCE, Fail, Fault, Hang
from faults.loop import run
from faults.source import FaultySource
from faults.store import FaultyStore
from stage import DATA, IMAGE, IMPATIENT, SLOT, Stage

from glance_stream import threads
from glance_stream.errors import (
    DigestMismatch,
    Duplicate,
    ImportFailed,
    SourceError,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.memory import MemorySource
from glance_stream.transfer import Expectation, Transferred

SHA256 = Expectation("sha256", hashlib.sha256(DATA).hexdigest())
OTHER = {
    "empty": b"",
    "shorter by a byte": DATA[:-1],
    "shorter by slots": DATA[:SLOT],
    "longer": DATA + b"x",
    "longer by slots": DATA + DATA,
    "first byte": bytes([DATA[0] ^ 1]) + DATA[1:],
    "last byte": DATA[:-1] + bytes([DATA[-1] ^ 1]),
    "a byte in the middle": DATA[:SLOT] + bytes([DATA[SLOT] ^ 1]) + DATA[SLOT + 1 :],
}
others = pytest.mark.parametrize("theirs", OTHER.values(), ids=OTHER)
known = pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])


def there(stage: Stage, data: bytes, *numbers: int) -> None:
    for number in numbers or (1,):
        stage.memory[number].objects[IMAGE] = data


def failed(stage: Stage, source: Source | None = None, **fields: object) -> Duplicate:
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(source or FaultySource(DATA), **fields))
    error = caught.value.failures["s1"]
    assert isinstance(error, Duplicate)
    return error


def assert_untouched(stage: Stage, theirs: bytes, *written: str) -> None:
    assert stage.memory[1].objects.pop(IMAGE) == theirs
    assert IMAGE not in stage.memory[1].writers
    assert not {"delete", "write:0", "flush", "commit-before"} & set(stage.stores[1].calls)
    stage.assert_only(*written)


@known
@pytest.mark.parametrize("best_effort", [False, True])
def test_the_same_bytes_are_adopted(stage: Stage, known: bool, best_effort: bool) -> None:
    there(stage, DATA)
    done = run(stage.transfer(FaultySource(DATA, unknown_size=not known), best_effort=best_effort))
    assert (done.adopted, done.failures, sorted(done.locations)) == (("s1",), {}, ["s0", "s1", "s2"])
    assert done.notes == ("s1: was there already, identical: adopted",)
    assert done.locations["s1"] == stage.memory[1].location(IMAGE)
    events = stage.recorder.events
    assert events.index("opened") < events.index("adopting") < events.index("verified")
    assert_untouched(stage, DATA, "s0", "s2")


def test_every_store_has_it_already(stage: Stage) -> None:
    there(stage, DATA, 0, 1, 2)
    done = run(stage.transfer(FaultySource(DATA)))
    assert done.adopted == ("s0", "s1", "s2")
    assert all(store.writers == {} for store in stage.memory)
    stage.assert_only("s0", "s1", "s2")


@others
@known
def test_other_bytes_are_a_duplicate_with_a_way_out(stage: Stage, theirs: bytes, known: bool) -> None:
    there(stage, theirs)
    error = failed(stage, FaultySource(DATA, unknown_size=not known))
    assert "is there already, and is not this image: it " in str(error)
    assert "delete it with the store's own client" in str(error)
    assert "another image id" in str(error)
    assert_untouched(stage, theirs)


@others
def test_with_best_effort_the_others_go_on(stage: Stage, theirs: bytes) -> None:
    there(stage, theirs)
    done = run(stage.transfer(FaultySource(DATA), best_effort=True))
    assert (list(done.failures), done.adopted, sorted(done.locations)) == (["s1"], (), ["s0", "s2"])
    assert_untouched(stage, theirs, "s0", "s2")


def test_the_difference_is_told_while_the_source_still_gives(stage: Stage) -> None:
    there(stage, OTHER["first byte"])
    source = FaultySource(DATA, blocks_at=3 * SLOT)
    assert "it differs between byte 0 and 4096" in str(failed(stage, source, decompress="never"))


@pytest.mark.parametrize("good", [True, False])
def test_a_stream_that_is_itself_wrong_is_what_is_told(stage: Stage, good: bool) -> None:
    """So that a copy goes on with its next location. With a good stream the object is at fault."""
    theirs = OTHER["first byte"] if good else DATA
    there(stage, theirs)
    if good:
        assert "it differs" in str(failed(stage, expected=[SHA256]))
    else:
        with pytest.raises(DigestMismatch):
            run(stage.transfer(FaultySource(OTHER["first byte"]), expected=[SHA256]))
    assert_untouched(stage, theirs)


def test_an_object_of_another_size_than_is_expected_is_refused_at_once(stage: Stage) -> None:
    there(stage, DATA[:-1])
    source = FaultySource(DATA, blocks_at=0)
    assert f"it has {len(DATA) - 1} bytes" in str(failed(stage, source, expected=[SHA256], decompress="never"))


# -- an undo leaves it alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["open", "write:2", "flush", "commit-before", "commit-after"])
def test_another_store_fails(stage: Stage, step: str) -> None:
    there(stage, DATA)
    stage.script(2, {step: Fail(lambda: StoreFull("s2", "full"))})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert list(caught.value.failures) == ["s2"]
    assert_untouched(stage, DATA)


@pytest.mark.parametrize("event", ["adopting", "verified", "committed", "committed:s1", "finished"])
def test_a_record_fails(stage: Stage, event: str) -> None:
    there(stage, DATA)
    stage.recorder.script[event] = Fail(lambda: SourceError("the recorder's"))
    with pytest.raises(SourceError):
        run(stage.transfer(FaultySource(DATA)))
    assert_untouched(stage, DATA)


def test_the_source_fails(stage: Stage) -> None:
    there(stage, DATA)
    with pytest.raises(SourceError):
        run(stage.transfer(FaultySource(DATA, fails_at=3 * SLOT)))
    assert_untouched(stage, DATA)


def test_cancelled_while_it_is_compared(stage: Stage) -> None:
    there(stage, DATA)
    source = FaultySource(DATA, blocks_at=3 * SLOT)

    async def cancel() -> None:
        task = asyncio.ensure_future(stage.transfer(source))
        assert await threads.call(source.blocked.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    assert_untouched(stage, DATA)


def test_not_adopted_where_our_own_writer_may_have_left_something(stage: Stage) -> None:
    there(stage, DATA)
    stage.script(1, {"abort": Fail(lambda: StoreUnavailable("s1", "down"))})
    error = failed(stage)
    assert "is there already" in str(error)
    assert [left.store_id for left in stage.recorder.leftovers] == ["s1"]
    assert "adopting" not in stage.recorder.events


# -- an object that does not hold still -----------------------------------------------------------------------------------


class Restless(FaultyStore):
    """``meets``: what happens to its object, or to the reading of it, at a step."""

    def __init__(self, store: FaultyStore, meets: dict[str, Fault]) -> None:
        super().__init__(store.inner, store.script)
        self.meets = meets
        self.durable: list[Location] = []

    def open_reader(self, location: Location) -> Source:
        return RestlessSource(self, location.url.rpartition("/")[2])

    async def make_durable(self, location: Location) -> None:
        await self.strike("make_durable")
        self.durable.append(location)


class RestlessSource(MemorySource):
    def __init__(self, store: Restless, key: str) -> None:
        super().__init__(store.inner, key)
        self._meets = store.meets

    def _meet(self, step: str) -> None:
        if step in self._meets:
            self._meets[step].strike_blocking()

    def open(self) -> SourceInfo:
        self._meet("open")
        return super().open()

    def readinto(self, view: memoryview) -> int:
        self._meet("readinto")
        return super().readinto(view)

    def verify_unchanged(self) -> None:
        self._meet("verify_unchanged")

    def interrupt(self) -> None:
        for fault in self._meets.values():
            fault.release()


def restless(stage: Stage, **meets: Fault) -> Restless:
    stage.stores[1] = Restless(stage.stores[1], meets)
    stage._faults += meets.values()
    return stage.stores[1]


class Does(Fault):
    def __init__(self, does: object) -> None:
        super().__init__()
        self._does = does

    async def strike(self) -> None:
        self._does()


@pytest.mark.parametrize("step", ["open", "readinto", "verify_unchanged"])
@pytest.mark.parametrize("best_effort", [False, True])
def test_an_object_that_cant_be_read_is_its_stores_failure(stage: Stage, step: str, best_effort: bool) -> None:
    there(stage, DATA)
    restless(stage, **{step: Fail(lambda: SourceError("it changed while it was read"))})
    if best_effort:
        error = run(stage.transfer(FaultySource(DATA), best_effort=True)).failures["s1"]
    else:
        with pytest.raises(ImportFailed) as caught:
            run(stage.transfer(FaultySource(DATA)))
        error = caught.value.failures["s1"]
    assert isinstance(error, StoreUnavailable)
    assert "can't be compared with the image: it changed while it was read" in str(error)
    assert_untouched(stage, DATA, *(["s0", "s2"] if best_effort else []))


@pytest.mark.parametrize("step", ["open", "readinto"])
def test_reading_it_has_the_time_limit_of_a_store(stage: Stage, step: str) -> None:
    there(stage, DATA)
    hang = Hang()
    restless(stage, **{step: hang})
    done = run(stage.transfer(FaultySource(DATA), best_effort=True, limits=IMPATIENT))
    assert isinstance(done.failures["s1"], StoreTimeout | StoreUnavailable)
    assert_untouched(stage, DATA, "s0", "s2")


@pytest.mark.parametrize("step", ["find", "stat", "make_durable"])
@pytest.mark.parametrize("fault", [lambda: Fail(lambda: StoreError("s1", "broken")), Hang], ids=["fails", "hangs"])
def test_asking_for_it_breaks(stage: Stage, step: str, fault: type[Fault]) -> None:
    there(stage, DATA)
    restless(stage)
    stage.script(1, {step: fault()})

    async def without_it() -> Transferred:
        done = await stage.transfer(FaultySource(DATA), best_effort=True, limits=IMPATIENT)
        stage.release()
        return done

    assert list(run(without_it()).failures) == ["s1"]
    assert_untouched(stage, DATA, "s0", "s2")


def test_gone_before_it_was_found(stage: Stage) -> None:
    there(stage, DATA)
    stage.script(1, {"find": Does(stage.memory[1].objects.clear)})
    assert "it is no object that can be read, or it is gone again" in str(failed(stage))
    stage.assert_only()


def test_gone_before_it_was_opened(stage: Stage) -> None:
    there(stage, DATA)

    class Goes(Fault):
        def strike_blocking(self) -> None:
            stage.memory[1].objects.clear()

    restless(stage, open=Goes())
    assert "it can't be read as one" in str(failed(stage))
    stage.assert_only()


@pytest.mark.parametrize("by_now", [None, DATA + b"more"], ids=["gone", "longer"])
def test_looked_at_once_more_at_the_commit(stage: Stage, by_now: bytes | None) -> None:
    """As where another site's import has rolled back meanwhile: a location that dangles is worse than a failure."""
    there(stage, DATA)

    def change() -> None:
        stage.memory[1].objects.clear()
        if by_now is not None:
            stage.memory[1].objects[IMAGE] = by_now

    stage.script(1, {"stat": Does(change)})
    with pytest.raises(ImportFailed) as caught:
        run(stage.transfer(FaultySource(DATA)))
    assert isinstance(caught.value.failures["s1"], StoreUnavailable if by_now is None else Duplicate)
    stage.memory[1].objects.clear()
    stage.assert_only()


def test_made_durable_before_it_counts(stage: Stage) -> None:
    there(stage, DATA)
    store = restless(stage)
    run(stage.transfer(FaultySource(DATA)))
    assert store.durable == [stage.memory[1].location(IMAGE)]
    assert store.calls.index("make_durable") < store.calls.index("stat")


# -- somebody was faster --------------------------------------------------------------------------------------------------


def comes_meanwhile(stage: Stage, theirs: bytes) -> None:
    stage.script(1, {"commit-before": Does(lambda: there(stage, theirs))})


@pytest.mark.parametrize("best_effort", [False, True])
def test_the_same_bytes_came_meanwhile(stage: Stage, best_effort: bool) -> None:
    comes_meanwhile(stage, DATA)
    done = run(stage.transfer(FaultySource(DATA), best_effort=best_effort))
    assert (done.adopted, done.failures) == (("s1",), {})
    assert stage.recorder.events.index("verified") < stage.recorder.events.index("adopting")
    assert (stage.memory[1].pending, stage.memory[1].writers) == ({}, {})
    assert "delete" not in stage.stores[1].calls
    stage.assert_only("s0", "s1", "s2")


@others
def test_other_bytes_came_meanwhile(stage: Stage, theirs: bytes) -> None:
    comes_meanwhile(stage, theirs)
    assert "and is not this image" in str(failed(stage))
    assert "delete" not in stage.stores[1].calls
    assert stage.memory[1].objects.pop(IMAGE) == theirs
    stage.assert_only()


def test_what_came_meanwhile_is_left_alone_by_the_undo(stage: Stage) -> None:
    comes_meanwhile(stage, DATA)
    stage.recorder.script["finished"] = Fail(lambda: SourceError("the recorder's"))
    with pytest.raises(SourceError):
        run(stage.transfer(FaultySource(DATA)))
    assert stage.memory[1].objects.pop(IMAGE) == DATA
    stage.assert_only()


def test_reading_what_came_meanwhile_has_a_time_limit(stage: Stage) -> None:
    comes_meanwhile(stage, DATA)
    hang = Hang()
    restless(stage, readinto=hang)
    done = run(stage.transfer(FaultySource(DATA), best_effort=True, limits=IMPATIENT))
    assert isinstance(done.failures["s1"], StoreUnavailable)
    assert stage.memory[1].objects.pop(IMAGE) == DATA
    stage.assert_only("s0", "s2")


def test_cancelled_while_what_came_meanwhile_is_read(stage: Stage) -> None:
    comes_meanwhile(stage, DATA)
    hang = Hang()
    restless(stage, readinto=hang)

    async def cancel() -> None:
        task = asyncio.ensure_future(stage.transfer(FaultySource(DATA)))
        await hang.wait_reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    assert stage.memory[1].objects.pop(IMAGE) == DATA
    stage.assert_only()
