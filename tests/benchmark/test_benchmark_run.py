"""A whole run on small data: everything is there, it is true to itself, and nothing stays behind."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glance_stream.benchmark as benchmark
from glance_stream.benchmark import measures, pipelines
from glance_stream.benchmark.peak import peak_of_pass
from glance_stream.benchmark.table import WIDTH, render
from glance_stream.errors import DigestMismatch, GlanceStreamError, InvalidRequest, StoreFull

SIZE = benchmark.SMALLEST
KEYS = ["source", "ring", "digest", "stores", "pass", "sha512sum", "sha512sum+fsync"]
OPENSSL = ["openssl", "openssl+fsync"] if shutil.which("openssl") else []

# Runs until it is interrupted, telling each phase on a line.
ENDLESS = """
import sys
from pathlib import Path
from glance_stream.benchmark import run
size, *directories = sys.argv[1:]
run(int(size), [Path(path) for path in directories], 1000, lambda event: print(event["phase"], flush=True))
"""


@pytest.fixture
def stores(tmp_path: Path) -> Callable[[int], list[Path]]:
    def stores(count: int) -> list[Path]:
        paths = [tmp_path / f"store{number}" for number in range(count)]
        for path in paths:
            path.mkdir()
            (path / "an-image").write_bytes(b"somebody else's")
        return paths

    return stores


def assert_untouched(directories: list[Path]) -> None:
    for path in directories:
        assert [entry.name for entry in path.iterdir()] == ["an-image"]
        assert (path / "an-image").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("count", [1, 3])
def test_a_run_measures_every_part_and_leaves_nothing(stores: Callable[[int], list[Path]], count: int) -> None:
    events: list[dict[str, Any]] = []
    result = benchmark.run(SIZE, stores(count), 2, events.append)
    assert_untouched([Path(place["path"]) for place in result["directories"]])
    assert len(result["directories"]) == count
    assert {place["mode"] for place in result["directories"]} <= {"direct", "dontcache", "paced"}
    assert [row["key"] for row in result["rows"]] == KEYS + OPENSSL
    check_rows(result)
    assert result["memory"]["peak_bytes"] > result["memory"]["ring_bytes"] > 0
    assert {event["event"] for event in events} == {"progress"}
    assert {event["round"] for event in events} == {0, 1, 2}
    assert result == json.loads(json.dumps(result))
    check_table(result)


def check_rows(result: dict[str, Any]) -> None:
    whole = next(row for row in result["rows"] if row["key"] == "pass")
    for row in result["rows"]:
        assert 0 < row["min"] <= row["seconds"] <= row["max"]
        assert len(row["rounds"]) == result["runs"]
        assert row["cpu_seconds"] >= 0
        assert row["mb_per_second"] == pytest.approx(SIZE / 1e6 / row["seconds"])
        assert row["ratio_to_floor"] == pytest.approx(row["seconds"] / result["floor"]["seconds"])
        assert row["ratio_to_pass"] == pytest.approx(row["seconds"] / whole["seconds"])
    by_key = {row["key"]: row["seconds"] for row in result["rows"]}
    assert by_key["sha512sum+fsync"] > by_key["sha512sum"]
    parts = result["floor"]["parts"]
    assert {name: parts[name] for name in ("digest", "stores", "source")} == {
        name: by_key[name] for name in ("digest", "stores", "source")
    }


def check_table(result: dict[str, Any]) -> None:
    text = render(result)
    assert all(row["name"] in text for row in result["rows"])
    assert result["floor"]["limit"] in text
    assert all(line.isprintable() for line in text.splitlines())  # no colour
    # A path is never broken in two, so that it can be copied; it alone may stick out.
    assert all(len(line) <= WIDTH or "/" in line for line in text.splitlines())


def test_the_same_directory_twice_is_two_stores(stores: Callable[[int], list[Path]]) -> None:
    [path] = stores(1)
    result = benchmark.run(SIZE, [path, path], 1)
    assert [place["path"] for place in result["directories"]] == [str(path)] * 2
    assert_untouched([path])


def test_missing_openssl_is_a_note(stores: Callable[[int], list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.shutil, "which", lambda name: None if name == "openssl" else f"/bin/{name}")
    result = benchmark.run(SIZE, stores(1), 1)
    assert [row["key"] for row in result["rows"]] == KEYS
    assert any("openssl not installed" in note for note in result["notes"])


def test_too_little_room_is_refused_with_what_is_needed(stores: Callable[[int], list[Path]]) -> None:
    paths = stores(2)
    with pytest.raises(InvalidRequest, match=r"needs 3,377,\d{3},\d{3} MB .* free are .* --size"):
        benchmark.run(1 << 50, paths)  # two stores and the source on one file system
    assert_untouched(paths)


@pytest.mark.parametrize(("size", "runs"), [(SIZE - 1, 1), (SIZE, 0)])
def test_a_size_or_number_out_of_range_is_refused(stores: Callable[[int], list[Path]], size: int, runs: int) -> None:
    paths = stores(1)
    with pytest.raises(InvalidRequest):
        benchmark.run(size, paths, runs)
    assert_untouched(paths)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="not a directory"):
        benchmark.run(SIZE, [tmp_path / "absent"])
    with pytest.raises(InvalidRequest, match="no directory"):
        benchmark.run(SIZE, [])


@pytest.mark.parametrize("phase", ["preparing", "source", "pass", "openssl", "memory"])
def test_an_interrupt_between_parts_leaves_nothing(stores: Callable[[int], list[Path]], phase: str) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["phase"] == phase:
            raise KeyboardInterrupt

    paths = stores(2)
    if phase in OPENSSL or phase != "openssl":
        with pytest.raises(KeyboardInterrupt):
            benchmark.run(SIZE, paths, 1, interrupt)
    assert_untouched(paths)


@pytest.mark.parametrize("phase", ["digest", "stores", "pass", "sha512sum"])
def test_control_c_within_a_part_leaves_nothing(stores: Callable[[int], list[Path]], phase: str) -> None:
    paths = stores(2)
    command = [sys.executable, "-c", ENDLESS, str(4 * SIZE), *map(str, paths)]
    # A test run in the background of a script ignores SIGINT, and so would what it starts.
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeding) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == phase:
                process.send_signal(signal.SIGINT)
                break
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, said
    assert_untouched(paths)


def test_a_full_disk_is_the_stores_error_and_leaves_nothing(
    stores: Callable[[int], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    paths = stores(2)
    monkeypatch.setattr(measures, "sync_all", lambda fds: [full(fd) for fd in fds])
    with pytest.raises(StoreFull):
        benchmark.run(SIZE, paths, 1)
    assert_untouched(paths)


def test_a_command_that_fails_is_told_with_what_it_said(
    stores: Callable[[int], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = stores(1)
    monkeypatch.setitem(pipelines.DIGESTS, "sha512sum", ("sha512sum", "/nowhere/at-all"))
    with pytest.raises(GlanceStreamError, match=r"sha512sum ended with 1: .*nowhere"):
        benchmark.run(SIZE, paths, 1)
    assert_untouched(paths)


def test_parts_that_read_different_bytes_are_not_compared(tmp_path: Path) -> None:
    bench = measures.Bench(tmp_path, SIZE, [])
    bench.agree("aa")
    bench.agree("aa")
    with pytest.raises(DigestMismatch):
        bench.agree("bb")


def test_the_peak_is_the_childs_own(tmp_path: Path) -> None:
    """A parent larger than the child would show in ru_maxrss of the child."""
    (tmp_path / "source").write_bytes(os.urandom(SIZE))
    (tmp_path / "store").mkdir()
    ballast = bytearray(os.urandom(1 << 20)) * 300
    found = peak_of_pass(tmp_path / "source", [tmp_path / "store"])
    assert found["peak_bytes"] < len(ballast)
    assert list((tmp_path / "store").iterdir()) == []
