"""The tool killed -9 in mid-import and in mid-copy, and the same command again: into a file store and S3, from a web server."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from held_back import HeldBack
from real_places import Place, file_place, s3_place
from real_servers import S3Bucket
from real_tool import Tool

MIB = 1 << 20
SLOT, PART = 4 * MIB, 5 * MIB
IMAGE = random.Random(33).randbytes(26 * MIB + 4321)
STORES = ("file", "s3")
TO = [word for store_id in STORES for word in ("--store", store_id)]
COPY_TO = [word for store_id in STORES for word in ("--to", store_id)]
SECONDS = 60.0


@pytest.fixture
def places(tmp_path: Path, radosgw_bucket: S3Bucket) -> list[Place]:
    return [file_place(tmp_path / "images"), s3_place("s3", radosgw_bucket)]


@pytest.fixture
def web() -> Iterator[HeldBack]:
    with HeldBack(IMAGE).served() as web:
        yield web


@pytest.fixture
def tool(tmp_path: Path, places: list[Place], web: HeldBack) -> Tool:
    """The web server is a store too, to copy from."""
    section = f'[stores.web]\ntype = "http"\nurl = "{web.url.rpartition("/")[0]}"\n'
    return Tool(tmp_path, places, {"s3": {"part_size": "5 MiB"}}, top=section)


@pytest.fixture
def kill(tool: Tool, tmp_path: Path, radosgw_bucket: S3Bucket, web: HeldBack) -> Callable[..., None]:
    """Start a command, wait until the stores hold all that they can of the bytes before ``cut``, and kill it."""

    def held() -> tuple[list[int], list[int]]:
        sizes = [path.stat().st_size for path in (tmp_path / "images").glob(".*.part")]
        with radosgw_bucket.server.client() as s3:
            parts = [
                s3.list_parts(Bucket=radosgw_bucket.name, Key=key, UploadId=upload).get("Parts", [])
                for key, upload in radosgw_bucket.uploads()
            ]
        return sizes, [len(each) for each in parts]

    def kill(cut: int, *arguments: object, until: Callable[[], bool] = lambda: True) -> None:
        web.hold_at(cut)
        process = tool.start(*arguments)
        web.wait_until_held()
        whole = cut - cut % SLOT
        wanted = [whole], [max(0, whole - 1) // PART]
        deadline = time.monotonic() + SECONDS
        while held() != wanted or not until():
            assert time.monotonic() < deadline, f"{held()} and not {wanted}"
            time.sleep(0.05)
        process.kill()
        with process:
            process.communicate(timeout=SECONDS)
        web.go_on()

    return kill


def assert_whole(tool: Tool, result: dict[str, Any], image_id: str, data: bytes) -> None:
    digest = hashlib.sha512(data).hexdigest()
    assert result["status"] == "active"
    assert result["os_hash_value"] == digest
    assert {store_id: tool.places[store_id].sha512(image_id) for store_id in STORES} == dict.fromkeys(STORES, digest)
    assert tool.left() == {store_id: [image_id] for store_id in STORES}


def kept(result: dict[str, Any]) -> dict[str, int]:
    """By store; 0 where all was written anew."""
    anew = {note.partition(": ")[0]: 0 for note in result["notes"] if "left nothing of this content" in note}
    told = [note.split(": continued an interrupted transfer, ") for note in result["notes"] if "continued" in note]
    return anew | {store: int(rest.split(" of ")[0]) for store, rest in told}


@pytest.mark.parametrize("cut", [MIB, len(IMAGE) - 1])
def test_an_import_goes_on(tool: Tool, web: HeldBack, kill: Callable[..., None], cut: int) -> None:
    image_id = str(uuid.uuid4())
    command = ["import", web.url, "--id", image_id, *TO]
    kill(cut, *command)
    code, result = tool(*command)
    assert code == 0
    assert_whole(tool, result, image_id, IMAGE)
    slots = cut - cut % SLOT
    parts = max(0, slots - 1) // PART * PART
    assert kept(result) == {"file": slots, "s3": parts}
    assert tool("recover")[0] == 0


def test_what_the_file_store_has_is_not_fetched_again(tool: Tool, web: HeldBack, kill: Callable[..., None], tmp_path: Path) -> None:
    image_id = str(uuid.uuid4())
    command = ["import", web.url, "--id", image_id, *TO]

    def is_recorded() -> bool:
        with closing(sqlite3.connect(tmp_path / "catalogue.db", timeout=SECONDS)) as catalogue:
            return catalogue.execute("SELECT length(digests) FROM operations").fetchone() == (20 * MIB // SLOT * 16,)

    kill(22 * MIB, *command, until=is_recorded)
    code, result = tool(*command)
    assert code == 0
    assert_whole(tool, result, image_id, IMAGE)
    spared = 20 * MIB - SLOT  # the first slot is fetched and compared
    assert f"{spared} of {len(IMAGE)} bytes did not have to be read from the source again" in result["notes"]
    assert web.begun == [0, 20 * MIB]  # the first answer is broken off


def test_killed_again_and_changed_in_between(tool: Tool, web: HeldBack, kill: Callable[..., None]) -> None:
    image_id = str(uuid.uuid4())
    command = ["import", web.url, "--id", image_id, *TO]
    kill(9 * MIB, *command)
    kill(22 * MIB, *command)
    web.image = IMAGE[: 6 * MIB] + bytes(len(IMAGE) - 6 * MIB)
    web.etag = '"second"'
    web.go_on()
    code, result = tool(*command)
    assert code == 0
    assert_whole(tool, result, image_id, web.image)
    assert kept(result) == {"file": SLOT, "s3": PART}


def test_a_copy_goes_on(tool: Tool, web: HeldBack, kill: Callable[..., None], tmp_path: Path) -> None:
    """From the web server, where the image is put on record behind the tool's back."""
    code, result = tool("import", web.url, "--store", "file")
    assert code == 0
    image_id = result["image_id"]
    (tmp_path / "images" / image_id).unlink()
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as catalogue, catalogue:
        catalogue.execute("UPDATE image_locations SET url = ?, store_id = 'web'", (web.url,))
    command = ["copy", image_id, *COPY_TO]
    kill(22 * MIB + 1, *command)
    code, result = tool(*command)
    assert code == 0
    assert_whole(tool, result, image_id, IMAGE)
    assert kept(result) == {"file": 20 * MIB, "s3": 15 * MIB}
