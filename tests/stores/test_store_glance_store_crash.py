"""What a killed process leaves of a driver that writes in place, and what is made of an SDK's own exceptions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.loop import run
from glance_store_drivers import Wayward, file_store, files_below, install_wayward, wayward_store
from subject import IMAGE, content, put, read_all

from glance_stream.errors import Duplicate, NotFound, StoreDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from glance_stream.stores.glance_store.errors import Mask, as_ours
from glance_stream.stores.glance_store.places import PLACES

DIE = """
import asyncio, os, sys
from glance_stream.stores.glance_store import GlanceStoreStore
store = GlanceStoreStore("gs", "file", {"filesystem_store_datadir": sys.argv[1]})
async def scenario():
    writer = store.writer(sys.argv[2])
    print(writer.trace, flush=True)
    if sys.argv[3] == "half written":
        await writer.open(None)
        writer.write(memoryview(b"x" * 200_000))
    os.kill(os.getpid(), 9)
asyncio.run(scenario())
"""


def killed(folder: Path, when: str) -> str:
    """The trace of the writer of a process that has died."""
    dead = subprocess.run(
        [sys.executable, "-c", DIE, str(folder), IMAGE, when],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert dead.returncode == -9
    return dead.stdout.decode().strip()


def test_a_part_that_may_be_a_whole_is_left_to_the_operator(tmp_path: Path) -> None:
    trace = killed(tmp_path, "half written")
    part = (tmp_path / IMAGE).read_bytes()
    assert 0 < len(part) < 200_000
    store = file_store(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match=f"file://{tmp_path}/{IMAGE} may be complete or not.* by hand"):
            run(store.discard(trace))
    with pytest.raises(Duplicate):
        run(put(store, IMAGE, b"abc"))
    assert (tmp_path / IMAGE).read_bytes() == part
    (tmp_path / IMAGE).unlink()
    run(store.discard(trace))
    location = run(put(store, IMAGE, content(70_001)))
    with pytest.raises(StoreError):
        run(store.discard(trace))
    assert read_all(store.open_reader(location)) == content(70_001)


def test_nothing_is_left_of_one_that_died_before_it_began(tmp_path: Path) -> None:
    run(file_store(tmp_path).discard(killed(tmp_path, "not open")))
    assert files_below(tmp_path) == set()


def test_the_trace_of_an_earlier_writer_does_not_stop_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_wayward(tmp_path, monkeypatch)
    store, driver = wayward_store()

    async def scenario() -> None:
        earlier = store.writer(IMAGE).trace
        writer = await store.open_writer(IMAGE, 3)
        writer.write(memoryview(b"abc"))
        await store.discard(earlier)
        await writer.flush(3)
        await writer.commit(3, {})
        assert driver.objects == {IMAGE: b"abc"}

    run(scenario())


def test_where_names_can_not_be_foretold_somebody_has_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with cinder, whose volumes have ids of their own."""
    install_wayward(tmp_path, monkeypatch)
    store, driver = wayward_store(wayward_prefix="")
    assert isinstance(driver, Wayward)
    with pytest.raises(StoreError, match=f"look by hand for .*{IMAGE}"):
        run(store.discard(store.writer(IMAGE).trace))
    cinder = PLACES["glance_store._drivers.cinder.store"]
    assert (cinder.urls(driver, IMAGE), cinder.look_for) == ([], "a volume named image-")


class ClientException(Exception):
    """As swiftclient's."""

    def __init__(self, http_status: int) -> None:
        super().__init__(f"status {http_status}")
        self.http_status = http_status


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize("kind", [ClientException, ClientError])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, StoreError),
        (401, StoreDenied),
        (403, StoreDenied),
        (404, NotFound),
        (408, StoreTimeout),
        (413, StoreFull),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
        (507, StoreFull),
    ],
)
def test_answers_of_http_services_are_told_by_their_status(kind: type[Exception], status: int, expected: type[StoreError]) -> None:
    assert type(as_ours("gs", kind(status), Mask([]))) is expected


def test_an_empty_error_tells_what_was_behind_it() -> None:
    """As rbd's BackendException without a cluster."""

    def fail() -> None:
        try:
            raise OSError(2, "error connecting to the cluster")
        except OSError:
            raise ValueError from None

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fail()
    assert "error connecting to the cluster" in str(as_ours("gs", caught.value, Mask([])))
