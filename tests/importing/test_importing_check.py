"""Trying out a store that fails: what is told, and that nothing is left that could be removed."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from faults.loop import run
from importing_words import LIMITS, FaultyStore, until

from glance_stream import threads
from glance_stream.errors import StoreError, StoreFull, StoreTimeout, StoreUnavailable
from glance_stream.importing.check import RandomSource, StoreCheck, open_all, try_out
from glance_stream.model import Location
from glance_stream.sources.base import Source
from glance_stream.stores.memory import MemoryStore

SIZE = 300_000


def checked(store: FaultyStore, size: int | None = SIZE) -> StoreCheck:
    check = StoreCheck(store)

    async def scenario() -> None:
        await open_all([check])
        if check.error is None:
            await try_out(check, size, LIMITS)

    run(scenario())
    return check


@pytest.mark.parametrize("step", ["connect", "open", "opened", "write", "flush", "commit", "after commit", "find"])
def test_a_failing_step_is_the_checks_error_and_nothing_stays(tmp_path: Path, step: str) -> None:
    fault = StoreFull("a", "no room")
    check = checked(FaultyStore("a", tmp_path / "a", {step: fault}))
    assert check.error is not None
    assert "no room" in str(check.error)
    assert check.leftovers == []
    assert not (tmp_path / "a").exists() or os.listdir(tmp_path / "a") == []


def test_an_error_of_a_driver_is_the_stores_failure(tmp_path: Path) -> None:
    check = checked(FaultyStore("a", tmp_path / "a", {"flush": KeyError("in the driver")}))
    assert "in the driver" in str(check.error)


def test_what_can_not_be_deleted_is_a_leftover(tmp_path: Path) -> None:
    check = checked(FaultyStore("a", tmp_path / "a", {"delete": StoreUnavailable("a", "gone away")}))
    (name,) = os.listdir(tmp_path / "a")
    assert [(left.store_id, left.trace) for left in check.leftovers] == [("a", f"file://{tmp_path}/a/{name}")]
    assert "gone away" in str(check.error)


def test_what_can_not_be_aborted_is_a_leftover(tmp_path: Path) -> None:
    faults = {"flush": StoreFull("a", "no room"), "abort": StoreUnavailable("a", "gone away")}
    check = checked(FaultyStore("a", tmp_path / "a", faults))
    assert "no room" in str(check.error)
    assert [left.store_id for left in check.leftovers] == ["a"]


class Lying(FaultyStore):
    """Gives other bytes than it was given."""

    def open_reader(self, location: Location) -> Source:
        return RandomSource(SIZE)


def test_what_is_read_back_is_compared(tmp_path: Path) -> None:
    check = checked(Lying("a", tmp_path / "a"))
    assert "what was read back is not what was written" in str(check.error)
    assert (check.write_seconds is not None, check.read_seconds) == (True, None)
    assert os.listdir(tmp_path / "a") == []


def test_a_store_that_hangs_on_a_question_is_given_up(tmp_path: Path) -> None:
    go = threading.Event()

    def hang() -> None:
        go.wait(20)

    check = StoreCheck(FaultyStore("a", tmp_path / "a", {"find": hang}))

    async def scenario() -> None:
        await try_out(check, None, replace(LIMITS, undo_timeout=0.2))

    try:
        run(scenario())
    finally:
        go.set()
    assert isinstance(check.error, StoreTimeout)


@pytest.mark.parametrize("step", ["opened", "flush", "after commit", "delete"])
def test_a_cancellation_leaves_nothing(tmp_path: Path, step: str) -> None:
    reached, go = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        go.wait(20)

    check = StoreCheck(FaultyStore("a", tmp_path / "a", {step: hold}))

    async def scenario() -> None:
        task = asyncio.ensure_future(try_out(check, SIZE, LIMITS))
        await until(reached)
        task.cancel()
        await threads.call(go.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    assert check.leftovers == []
    assert os.listdir(tmp_path / "a") == []


def test_many_are_opened_and_each_has_its_own_error(tmp_path: Path) -> None:
    faults: list[dict[str, Exception]] = [{}, {"connect": StoreError("1", "broken")}] * 10
    checks = [StoreCheck(FaultyStore(str(n), tmp_path / str(n), fault)) for n, fault in enumerate(faults)]
    run(open_all(checks))
    assert [check.error is None for check in checks] == [not fault for fault in faults]


def test_any_store_can_be_tried() -> None:
    store = MemoryStore("m")
    check = StoreCheck(store)

    async def scenario() -> None:
        await open_all([check])
        await try_out(check, SIZE, LIMITS)
        for stray in (await store.strays(), await store.find("x")):
            assert not stray

    run(scenario())
    assert (check.error, check.size, check.latency is not None) == (None, SIZE, True)


@pytest.mark.parametrize("size", [1, 4096, 9 << 20])
def test_the_random_source_gives_what_it_says(size: int) -> None:
    source, buffer, found = RandomSource(size), memoryview(bytearray(100_003)), 0
    assert source.open().size == size
    while count := source.readinto(buffer):
        found += count
    assert found == size
