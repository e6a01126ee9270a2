"""Each kind of store fails in turn while an image is on its way into all of them: nothing is left anywhere.

The image goes in through a pipe, so that what happens, happens half-way. Each system's own client says what is there.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest
from faulty_proxy import Answer, CutRequest, Fault, FaultyProxy, Stall
from real_places import Place, file_place, rbd_place, s3_place, swift_place
from real_servers import RbdPool, S3Bucket, SwiftContainer
from real_tool import Tool
from server_daemons import ServerHandle

MIB = 1 << 20
IMAGE = 48 * MIB  # three parts for S3, six segments for Swift
STALL_SECONDS = 4
LIMITS = f"[transfer]\nstore_timeout = {STALL_SECONDS}\nretry_budget = 4\n"
SOON = {"read_timeout": 2, "connect_timeout": 2}  # what the S3 and Swift stores allow one request


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """On a disk of 64 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount a file system ({done.stderr.decode().strip()}): run as root")
    yield path / "images"
    subprocess.run(["umount", "--lazy", path], check=True)  # a tool that a failed test has left may still be in it


@pytest.fixture
def places(directory: Path, radosgw_bucket: S3Bucket, swift_container: SwiftContainer, rbd_pool: RbdPool) -> Mapping[str, Place]:
    places = [
        file_place(directory),
        s3_place("s3", radosgw_bucket),
        swift_place("swift", swift_container),
        rbd_place(rbd_pool),
    ]
    return {place.store_id: place for place in places}


@pytest.fixture
def make_tool(tmp_path: Path, places: Mapping[str, Place]) -> Callable[..., Tool]:
    """``changed``: options of a store, by its id."""

    def make(**changed: Mapping[str, Any]) -> Tool:
        options = {"s3": SOON, "swift": SOON, "rbd": {"op_timeout": STALL_SECONDS}}
        return Tool(
            tmp_path, list(places.values()), {name: {**options.get(name, {}), **changed.get(name, {})} for name in places}, LIMITS
        )

    return make


@pytest.fixture
def tool(make_tool: Callable[..., Tool]) -> Tool:
    return make_tool()


def feed(pipe: IO[bytes], size: int) -> None:
    """Noise; a tool that has given up does not read on."""
    with suppress(BrokenPipeError):
        for _ in range(size // MIB):
            pipe.write(os.urandom(MIB))
        pipe.flush()


def import_and(tool: Tool, happen: Callable[[], object]) -> tuple[int, dict[str, Any]]:
    """Import into all stores through a pipe; half-way ``happen`` is called."""
    process = tool.start("import", "-", "--all-stores", stdin=subprocess.PIPE)
    pipe = process.stdin
    assert pipe is not None
    feed(pipe, IMAGE // 2)
    happen()
    feeding = threading.Thread(target=feed, args=(pipe, IMAGE // 2))
    feeding.start()
    feeding.join(90)
    assert not feeding.is_alive()
    with suppress(BrokenPipeError):
        pipe.close()
    process.stdin = None
    return tool.end(process)


def assert_undone(tool: Tool, outcome: tuple[int, dict[str, Any]], victim: str) -> None:
    code, result = outcome
    assert code == 4, result
    assert (result["status"], list(result["failed"])) == ("queued", [victim]), result
    assert tool.left() == {}


def nothing() -> None:
    pass


@contextmanager
def after(seconds: float, happen: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, happen)
    timer.start()
    try:
        yield
    finally:
        timer.join()


# -- a store that goes on failing until an operator has looked at it -------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "options"),
    [
        ("s3", {"secret_key": "wrong"}),
        ("s3", {"bucket": "there-is-none"}),
        ("s3", {"endpoint": "http://127.0.0.1:9"}),
        ("swift", {"key": "wrong"}),
        ("swift", {"container": "there-is-none"}),
        ("swift", {"auth_url": "http://127.0.0.1:9/auth/v1.0"}),
        ("rbd", {"user": "nobody"}),
        ("rbd", {"pool": "there-is-none"}),
        ("file", {"path": "/dev/null/images"}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_store_that_is_not_what_the_configuration_says(
    make_tool: Callable[..., Tool], victim: str, options: Mapping[str, Any]
) -> None:
    tool = make_tool(**{victim: options})
    stores = [word for name in tool.places for word in ("--store", name)]
    code, result = tool("import", __file__, *stores)
    assert code == 4, result
    assert (result["status"], list(result["failed"])) == ("queued", [victim]), result
    assert "wrong" not in str(result)
    assert tool.left() == {}
    assert tool("check", victim)[0] != 0


def test_a_disk_that_fills_up(tool: Tool, directory: Path) -> None:
    directory.mkdir()
    assert_undone(tool, import_and(tool, lambda: (directory.parent / "other").write_bytes(bytes(30 * MIB))), "file")


def test_a_quota_that_is_reached(tool: Tool, swift_container: SwiftContainer) -> None:
    with swift_container.server.connection() as swift:
        swift.post_container(swift_container.name, {"X-Container-Meta-Quota-Bytes": str(IMAGE // 2)})
    assert_undone(tool, import_and(tool, nothing), "swift")


def test_a_bucket_that_is_deleted(tool: Tool, radosgw_bucket: S3Bucket) -> None:
    def delete() -> None:
        radosgw_bucket.server.empty_bucket(radosgw_bucket.name)
        radosgw_bucket.server.delete_bucket(radosgw_bucket.name)

    outcome = import_and(tool, delete)
    radosgw_bucket.server.make_bucket(radosgw_bucket.name)
    assert_undone(tool, outcome, "s3")


def test_segments_that_somebody_deletes(tool: Tool, swift_container: SwiftContainer) -> None:
    def delete() -> None:
        deadline = time.monotonic() + 30
        while not swift_container.objects():  # a listing may be late
            assert time.monotonic() < deadline
            time.sleep(0.1)
        swift_container.server.empty_container(swift_container.name)

    outcome = import_and(tool, delete)
    assert_undone(tool, outcome, "swift")


def test_a_pool_that_is_deleted(tool: Tool, rbd_pool: RbdPool) -> None:
    """Whether anything is left in a pool that is not there can't be told; `recover` looks again."""
    code, result = import_and(tool, lambda: rbd_pool.cluster.delete_pool(rbd_pool.name))
    rbd_pool.cluster.make_pool(rbd_pool.name)
    assert (code, result["status"], list(result["failed"])) == (5, "queued", ["rbd"]), result
    assert tool("recover")[0] == 0
    assert tool.left() == {}


# -- servers that die, or stop to answer -----------------------------------------------------------------------------------


@pytest.fixture(params=["s3", "swift", "rbd"])
def victim(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def daemon(victim: str, radosgw_bucket: S3Bucket, swift_container: SwiftContainer, rbd_pool: RbdPool) -> ServerHandle:
    return {
        "s3": radosgw_bucket.server.daemons["radosgw"],
        "swift": swift_container.server.daemons["proxy"],
        "rbd": rbd_pool.cluster.daemons["osd"],
    }[victim]


def gone_with(victim: str) -> set[str]:
    """Ceph's S3 gateway stops with the osd that it writes to, and may be the first to be given up, or the only one."""
    return {"rbd", "s3"} if victim == "rbd" else {victim}


def test_a_server_that_is_killed(tool: Tool, daemon: ServerHandle, victim: str) -> None:
    """What it holds can't be removed while it is dead: it is named, and removed by `recover` when the server is back."""
    try:
        code, result = import_and(tool, daemon.kill)
    finally:
        daemon.restart()
    assert code in (4, 5), result
    assert result["status"] == "queued", result
    assert result["failed"].keys() <= gone_with(victim), result
    assert result["failed"], result
    deadline = time.monotonic() + 60  # Ceph knows for half a minute that somebody had the image open
    while (code := tool("recover")[0]) == 5 and time.monotonic() < deadline:
        time.sleep(2)
    assert code == 0
    assert tool.left() == {}


def test_a_server_that_stops_to_answer(tool: Tool, daemon: ServerHandle, victim: str) -> None:
    with after(2 * STALL_SECONDS, daemon.resume):
        code, result = import_and(tool, daemon.pause)
    assert code in (4, 5), result
    assert result["status"] == "queued"
    assert result["failed"].keys() <= gone_with(victim), result
    assert result["failed"], result
    assert tool("recover")[0] == 0
    assert tool.left() == {}


# -- answers that are not what was hoped for -------------------------------------------------------------------------------

TROUBLE: dict[str, list[Fault]] = {
    "503": [Answer(503, {"Retry-After": "1"})] * 50,
    "reset": [CutRequest(after=MIB)] * 50,
    "stall": [Stall(after=MIB)] * 50,
}


@pytest.fixture(params=["s3", "swift"])
def proxied(
    request: pytest.FixtureRequest, make_tool: Callable[..., Tool], radosgw_bucket: S3Bucket, swift_container: SwiftContainer
) -> Iterator[tuple[str, Tool, FaultyProxy]]:
    """The store's id, the tool, and what stands between them. The third piece of what is uploaded is what its patterns find."""
    name: str = request.param
    with swift_container.server.connection() as swift:
        upstream, version, account = swift.get_auth()[0].partition("/v1")
    if name == "s3":
        upstream, version, account = radosgw_bucket.server.endpoint, "", ""
    with FaultyProxy(upstream) as proxy:
        yield name, make_tool(**{name: {"endpoint": proxy.endpoint + version + account}}), proxy


THIRD = {"s3": r"^PUT .*partNumber=3", "swift": r"^PUT .*/0*3(\?|$)"}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_server_that_never_takes_the_third_piece(proxied: tuple[str, Tool, FaultyProxy], trouble: str) -> None:
    victim, tool, proxy = proxied
    proxy.plan(THIRD[victim], *TROUBLE[trouble])
    assert_undone(tool, import_and(tool, nothing), victim)
    assert proxy.seen(THIRD[victim])


def test_a_server_that_asks_to_come_back_later(proxied: tuple[str, Tool, FaultyProxy]) -> None:
    """It is done as it asks: S3's part is sent again. A Swift segment is streamed and not kept, so that store fails."""
    victim, tool, proxy = proxied
    proxy.plan(THIRD[victim], Answer(503, {"Retry-After": "1"}))
    code, result = import_and(tool, nothing)
    if victim == "swift":
        return assert_undone(tool, (code, result), victim)
    assert (code, result["status"]) == (0, "active"), result
    assert proxy.seen(THIRD[victim]) >= 2  # a connection lost on the way is one more reason to send it again
    assert tool("verify", result["image_id"])[0] == 0
    assert tool("delete", result["image_id"])[0] == 0
    assert tool.left() == {}
    return None
