"""A driver that hangs while it is configured, as one does that connects to a dead server: it holds up nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from glance_store_drivers import Wayward, install_wayward
from subject import IMAGE, content, put, read_all

from glance_stream.errors import StoreError
from glance_stream.stores.glance_store import GlanceStoreOptions, GlanceStoreStore, backend

URL = f"wayward://box/{IMAGE}"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install_wayward(tmp_path, monkeypatch)
    monkeypatch.setattr(backend, "CONFIGURING", 0.2)
    monkeypatch.setattr(Wayward, "configuring", [])
    yield
    for driver in Wayward.configuring:
        driver.may_go_on.set()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """For how long each wait for a future was to be."""
    seen: list[float | None] = []
    result = Future.result

    def recorded(future: Future[Any], timeout: float | None = None) -> Any:
        seen.append(timeout)
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", recorded)
    return seen


def hung(*does: str) -> GlanceStoreStore:
    options = GlanceStoreOptions(driver="wayward", options={"wayward_does": ["hangs in configure", *does]})
    return GlanceStoreStore.from_options("gs", options)


def let_go(store: GlanceStoreStore) -> None:
    """The hung driver goes on, to its end."""
    first = store._backend.drivers.first()
    Wayward.configuring[0].may_go_on.set()
    first.exception(10)


def test_a_hung_driver_is_waited_for_once_by_one_thread(waits: list[float | None]) -> None:
    store = hung()
    assert not store.owns(URL)
    threads = threading.active_count()
    assert not any(store.owns(URL) for _ in range(20))
    assert waits == [0.2] + [0] * 20
    assert len(Wayward.configuring) == 1
    assert threading.active_count() <= threads


def test_a_close_does_not_wait_for_it() -> None:
    store = hung()
    assert not store.owns(URL)
    run(store.close())
    run(store.close())
    (driver,) = Wayward.configuring
    assert "hangs in configure" in driver.does


def test_a_driver_that_comes_late_is_used() -> None:
    store = hung()
    assert not store.owns(URL)
    let_go(store)
    assert store.owns(URL)
    assert read_all(store.open_reader(run(put(store, IMAGE, content(5000))))) == content(5000)
    run(store.close())


def test_one_that_failed_late_is_tried_again_and_not_waited_for(waits: list[float | None]) -> None:
    store = hung("misconfigured")
    assert not store.owns(URL)
    let_go(store)
    store._backend.drivers._conf.set_override("wayward_does", [], group="gs")
    waits.clear()
    store.owns(URL)
    assert waits == [0]
    store._backend.drivers.first().exception(10)
    assert store.owns(URL)


def test_a_driver_that_comes_after_the_close_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the filesystem driver's threads would stay otherwise. Who opens the store again gets one of its own."""
    ended: list[bool] = []

    class Pool:
        def shutdown(self, wait: bool) -> None:
            ended.append(wait)

    monkeypatch.setattr(Wayward, "timeout_executor", Pool(), raising=False)
    store = hung()
    assert not store.owns(URL)
    run(store.close())
    assert ended == []
    first = store._backend.drivers.first()
    let_go(store)
    assert ended == [False]
    with pytest.raises(StoreError, match="closed while"):
        first.result(10)
    assert store._backend.drivers.configured is None
    store._backend.drivers._conf.set_override("wayward_does", [], group="gs")
    run(store.open())
    assert store.owns(URL)
    run(store.close())


def test_a_close_is_not_held_up_by_a_driver_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    class Pool:
        def shutdown(self, wait: bool) -> None:
            may_end.wait(60)
            may_end.clear()

    monkeypatch.setattr(Wayward, "timeout_executor", Pool(), raising=False)
    monkeypatch.setattr("glance_stream.stores.glance_store.store.CLOSING", 0.2)
    store = GlanceStoreStore.from_options("gs", GlanceStoreOptions(driver="wayward"))
    run(store.open())
    run(store.close())
    assert store._backend.drivers.configured is None
    may_end.set()


CHILD = f"""
import asyncio
from glance_stream.stores.glance_store import GlanceStoreOptions, GlanceStoreStore, backend
backend.CONFIGURING = 0.2
options = GlanceStoreOptions(driver="wayward", options={{"wayward_does": ["hangs in configure"]}})
store = GlanceStoreStore.from_options("gs", options)
assert not store.owns({URL!r})
asyncio.run(store.close())
print("closed", flush=True)
"""


def test_a_hung_driver_does_not_keep_the_process(tmp_path: Path) -> None:
    """It hangs for 60 s."""
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "closed\n"), ended.stderr
