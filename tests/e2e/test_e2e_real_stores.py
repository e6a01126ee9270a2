"""Real images in every kind of store at once, on real servers; each system's own client says what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from real_places import Place, file_place, rbd_place, s3_place, swift_place
from real_servers import RbdPool, S3Bucket, SwiftContainer
from real_tool import Tool

STORES = ["file", "radosgw", "swift-s3", "swift", "keystone", "rbd"]
KINDS = ["file", "radosgw", "swift", "rbd"]


@pytest.fixture
def places(
    tmp_path: Path,
    radosgw_bucket: S3Bucket,
    swift_s3_bucket: S3Bucket,
    swift_container: SwiftContainer,
    swift_v3_container: SwiftContainer,
    rbd_pool: RbdPool,
) -> list[Place]:
    return [
        file_place(tmp_path / "images"),
        s3_place("radosgw", radosgw_bucket),
        s3_place("swift-s3", swift_s3_bucket),
        swift_place("swift", swift_container),
        swift_place("keystone", swift_v3_container),
        rbd_place(rbd_pool),
    ]


@pytest.fixture
def tool(tmp_path: Path, places: list[Place]) -> Iterator[Tool]:
    """The stores are empty again when the last image has been deleted through the tool."""
    tool = Tool(tmp_path, places)
    yield tool
    for image in tool("list")[1]["images"]:
        assert tool("delete", image["image_id"])[0] == 0
    assert tool.left() == {}


def sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def assert_everywhere(tool: Tool, result: dict[str, Any], original: Path) -> None:
    assert result["status"] == "active"
    assert sorted(result["stores"]) == sorted(STORES)
    digest = sha512(original)
    assert result["os_hash_value"] == digest
    assert {place.store_id: place.sha512(result["image_id"]) for place in tool.places.values()} == dict.fromkeys(STORES, digest)
    assert tool("verify", result["image_id"])[0] == 0


def test_one_import_into_all_of_them(tool: Tool, images: dict[str, Path]) -> None:
    code, result = tool("import", images["qcow2"], "--all-stores", "--disk-format", "qcow2")
    assert code == 0, result
    assert_everywhere(tool, result, images["qcow2"])


def test_one_import_of_unknown_size_into_all_of_them(
    tool: Tool, images: dict[str, Path], compressed: Callable[[str, str], Path]
) -> None:
    code, result = tool("import", compressed("raw", "zstd"), "--all-stores", "--thin")
    assert code == 0, result
    assert_everywhere(tool, result, images["raw"])


def test_a_copy_between_every_pair(tool: Tool, images: dict[str, Path]) -> None:
    stores = [word for name in KINDS for word in ("--store", name)]
    _, result = tool("import", images["qcow2"], *stores, "--disk-format", "qcow2")
    image_id, digest = result["image_id"], result["os_hash_value"]
    for source, target in permutations(KINDS, 2):
        assert tool("delete", image_id, "--store", target)[0] == 0
        assert target not in tool.left()
        code, copied = tool("copy", image_id, "--from", source, "--to", target)
        assert code == 0, (source, target, copied)
        assert tool.places[target].sha512(image_id) == digest, (source, target)
