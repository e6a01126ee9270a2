"""The tool beside itself on a file store and S3: stopped for longer than its lease while the image passes to another, and woken."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from real_places import Place, file_place, s3_place
from real_servers import S3Bucket
from real_tool import Tool

MIB = 1 << 20
FIRST, SECOND = (random.Random(seed).randbytes(26 * MIB + 4321) for seed in (1, 2))
CUT = 22 * MIB
STORES = ("file", "s3")
HalfWay = Callable[..., subprocess.Popen[bytes]]
SECONDS = 60.0
LOST = (4, 6)  # what it meets first: its upload is gone, or its lock


@pytest.fixture
def tool(tmp_path: Path, radosgw_bucket: S3Bucket) -> Tool:
    places: list[Place] = [file_place(tmp_path / "images"), s3_place("s3", radosgw_bucket)]
    return Tool(tmp_path, places, {"s3": {"part_size": "5 MiB"}})


@pytest.fixture
def half_way(tool: Tool, radosgw_bucket: S3Bucket) -> Iterator[HalfWay]:
    """Start an import from a pipe, and wait until it has read what was given of it and S3 has some."""
    started: list[subprocess.Popen[bytes]] = []

    def start(image_id: str, data: bytes = FIRST) -> subprocess.Popen[bytes]:
        process = tool.start("import", "-", "--id", image_id, *to(), stdin=subprocess.PIPE)
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(data[:CUT])
        process.stdin.flush()
        deadline = time.monotonic() + SECONDS
        with radosgw_bucket.server.client() as s3:
            while not any(
                s3.list_parts(Bucket=radosgw_bucket.name, Key=key, UploadId=upload).get("Parts")
                for key, upload in radosgw_bucket.uploads()
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        return process

    yield start
    for process in started:
        process.kill()
        with process:
            process.communicate()


def to() -> list[str]:
    return [word for store_id in STORES for word in ("--store", store_id)]


def change(tmp_path: Path, statement: str, *values: object) -> None:
    """Behind the tool's back."""
    with closing(sqlite3.connect(tmp_path / "catalogue.db", timeout=SECONDS)) as catalogue, catalogue:
        catalogue.execute(statement, values)


def assert_whole(tool: Tool, image_id: str, data: bytes) -> None:
    digest = hashlib.sha512(data).hexdigest()
    code, shown = tool("show", image_id)
    assert (code, shown["status"], shown["os_hash_value"]) == (0, "active", digest)
    assert {store_id: tool.places[store_id].sha512(image_id) for store_id in STORES} == dict.fromkeys(STORES, digest)
    assert tool.left() == {store_id: [image_id] for store_id in STORES}


@pytest.mark.parametrize("woken", ["in the middle", "afterwards"])
def test_who_was_stopped_leaves_the_image_of_the_next_as_it_is(tool: Tool, half_way: HalfWay, tmp_path: Path, woken: str) -> None:
    """Other bytes under the same id. The next one is sure of nothing that a living process has left, and writes all anew."""
    image_id = str(uuid.uuid4())
    first = half_way(image_id)
    first.send_signal(signal.SIGSTOP)
    change(tmp_path, "UPDATE tasks SET expires_at = '1971-01-01 00:00:00.000000'")
    second = half_way(image_id, SECOND)
    if woken == "in the middle":
        first.send_signal(signal.SIGCONT)
        assert tool.end(first)[0] in LOST
    out, _ = second.communicate(SECOND[CUT:], timeout=100)
    assert second.returncode == 0, out.decode()
    assert_whole(tool, image_id, SECOND)
    if woken == "afterwards":
        first.send_signal(signal.SIGCONT)
        first.communicate(FIRST[CUT:], timeout=100)
        assert first.returncode in LOST
    assert_whole(tool, image_id, SECOND)
    code, result = tool("recover")
    assert (code, result["images"], result["leftovers"]) == (0, [], [])
    assert_whole(tool, image_id, SECOND)


def test_a_leftover_is_not_removed_beside_an_import(tool: Tool, half_way: HalfWay, tmp_path: Path) -> None:
    """What an earlier import left is found in S3 by the image's name and the time, and so is the upload that is under way."""
    image_id = str(uuid.uuid4())
    first = half_way(image_id)
    with closing(sqlite3.connect(tmp_path / "catalogue.db", timeout=SECONDS)) as catalogue:
        (trace,) = catalogue.execute("SELECT trace FROM journal WHERE store_id = 's3'").fetchone()
    earlier = trace.partition("?")[0] + f"?writer={'0' * 16}&since={int(time.time()) - 60}"
    change(
        tmp_path,
        "INSERT INTO leftovers (image_id, store_id, trace, reason, at) VALUES (?, 's3', ?, 'failed', '2026-01-01 00:00:00.000000')",
        image_id,
        earlier,
    )
    code, result = tool("recover")
    assert [one["trace"] for one in result["leftovers"]] == [earlier]
    assert code == 5
    first.communicate(FIRST[CUT:], timeout=100)
    assert first.returncode == 0
    assert_whole(tool, image_id, FIRST)
    code, result = tool("recover")
    assert (code, result["leftovers"]) == (0, [])
    assert_whole(tool, image_id, FIRST)
