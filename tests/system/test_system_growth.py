"""Many images through one process: no more descriptors, threads or memory at the end than after the first of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("many_images.py")
MANY = os.environ.get("GLANCE_STREAM_MANY_IMAGES", "200")
MORE_DESCRIPTORS = 3  # a call to the catalogue may be under way in the moment of the look
MORE_THREADS = 8  # as many as calls were under way at once in the busiest moment
MORE_MEMORY = 6 << 10  # KiB: 64 KiB kept for each of 150 images would be more

pytestmark = pytest.mark.timeout(600)


def through(directory: Path, count: object, warm_up: object, leaking: str = "") -> list[dict[str, int]]:
    command = [sys.executable, SCRIPT, directory, str(count), str(warm_up), *([leaking] if leaking else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=500)
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_no_growth(held: list[dict[str, int]]) -> None:
    first, *later = held
    assert later
    last = later[-1]
    assert last["descriptors"] <= first["descriptors"] + MORE_DESCRIPTORS, held
    assert last["threads"] <= first["threads"] + MORE_THREADS, held
    assert last["memory"] <= first["memory"] + MORE_MEMORY, held


def test_many_small_images_in_one_process(quick: Path) -> None:
    directory = quick / "many"
    directory.mkdir()
    assert_no_growth(through(directory, MANY, 50))


@pytest.mark.parametrize(("leaking", "count"), [("fd", 40), ("thread", 40), ("memory", 40)])
def test_a_leak_would_be_seen(quick: Path, leaking: str, count: int) -> None:
    directory = quick / leaking
    directory.mkdir()
    held = through(directory, count, 20, leaking)
    with pytest.raises(AssertionError):
        assert_no_growth(held)
