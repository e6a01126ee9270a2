"""The pure parts, on made-up numbers: floor, ratios, table, notes, and the data's two promises."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from glance_stream.benchmark import machine, noise, workload
from glance_stream.benchmark.floor import floor
from glance_stream.benchmark.measures import together
from glance_stream.benchmark.stopwatch import Sample, Stopwatch
from glance_stream.benchmark.summary import floor_of, middle, rows
from glance_stream.benchmark.table import LIMITS, WIDTH, render

RING = Sample(0.2, 0.2)


@pytest.mark.parametrize(
    ("source", "digest", "stores", "cores", "limit", "seconds"),
    [
        (Sample(0.1, 0.1), Sample(2.0, 2.2), Sample(1.0, 0.6), 2, "digest", 2.0),
        (Sample(0.1, 0.1), Sample(2.0, 2.2), Sample(3.0, 0.6), 2, "stores", 3.0),
        (Sample(9.0, 0.1), Sample(2.0, 2.2), Sample(3.0, 0.6), 2, "source", 9.0),
        (Sample(0.1, 0.1), Sample(2.0, 2.2), Sample(1.0, 0.6), 1, "cpu", 2.6),  # 2.2 + 0.6 - 0.2
        (Sample(0.1, 0.1), Sample(2.0, 2.2), Sample(1.8, 3.0), 2, "cpu", 2.5),  # (2.2 + 3.0 - 0.2) / 2
    ],
)
def test_the_floor_is_the_longest_of_the_bounds(
    source: Sample, digest: Sample, stores: Sample, cores: int, limit: str, seconds: float
) -> None:
    found = floor(source, RING, digest, stores, cores)
    assert (found.limit, found.seconds) == (limit, pytest.approx(seconds))
    assert found.seconds == found.parts[limit] == max(found.parts.values())
    assert set(found.parts) == set(LIMITS)


def test_figures_are_medians_and_ratios_of_medians() -> None:
    one = [Sample(1.0, 0.5), Sample(4.0, 0.7), Sample(2.0, 0.6)]
    assert middle(one) == Sample(2.0, 0.6)
    samples = dict.fromkeys(("source", "ring", "digest", "stores"), one) | {"pass": [Sample(4.0, 1.0)]}
    assert floor_of(samples, 2).seconds == 2.0
    table = {row["key"]: row for row in rows(samples, 8_000_000, 2.0)}
    assert (table["digest"]["min"], table["digest"]["max"]) == (1.0, 4.0)
    assert (table["digest"]["mb_per_second"], table["digest"]["ratio_to_pass"]) == (4.0, 0.5)
    assert (table["pass"]["ratio_to_floor"], table["pass"]["ratio_to_pass"]) == (2.0, 1.0)


@pytest.mark.parametrize("limit", list(LIMITS))
def test_the_table_fits_its_width_at_any_figures(limit: str) -> None:
    lines = render(made_up(limit)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any(line.startswith("Limit") and limit in line for line in lines)
    assert any("NOT the compiled core" in line for line in lines)
    table = lines[2 : lines.index("", 2)]
    assert len(table) == 7
    assert len({len(line) for line in table}) == 1  # aligned
    assert "9999.9  9999.9" in table[1]


def made_up(limit: str) -> dict[str, Any]:
    samples = {key: [Sample(9999.9, 19999.9)] for key in ("source", "ring", "digest", "stores", "pass", "openssl+fsync")}
    return {
        "size": 1 << 50,
        "runs": 1,
        "machine": {
            "cores": 1,
            "cpu": "Some Vendor(R) Long Name(TM) Processor 9999X @ 3.00 GHz " * 2,
            "kernel": "6.18.0-generic-with-a-long-suffix",
            "python": "3.13.0",
            "openssl": "OpenSSL 3.0.19 27 Jan 2026",
            "compiled": False,
        },
        "directories": [{"path": "/srv/images", "filesystem": "ext4", "mode": "paced"}],
        "rows": rows(samples, 1 << 50, 9999.9),
        "floor": {"seconds": 9999.9, "limit": limit, "parts": dict.fromkeys(LIMITS, 9999.9)},
        "memory": {"peak_bytes": 10**9, "ring_bytes": 32 << 20},
        "notes": ["a note that goes on and on " * 10],
    }


def test_the_data_neither_compresses_nor_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "BLOCK_SIZE", 256 << 10)  # so that the block comes back within a small file
    size = (1 << 20) + 4096 + 5
    workload.make(tmp_path / "source", size)
    made = (tmp_path / "source").read_bytes()
    assert len(made) == size
    assert len(zlib.compress(made, 1)) > 0.99 * size
    pages = [made[at : at + 4096] for at in range(0, size - 4095, 4096)]
    assert len(set(pages)) == len(pages)


def test_noise_is_told_only_when_it_is_loud() -> None:
    assert noise.remarks(0.1, 0.01) == []
    assert ["1.4 cores" in text for text in noise.remarks(1.4, 0.0)] == [True]
    assert ["0.20 cores" in text for text in noise.remarks(0.0, 0.2)] == [True]


def test_nothing_is_told_where_the_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "ticks", lambda: None)
    assert noise.Noise().notes() == []
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert machine.memory_notes(1 << 60) == []
    assert machine.filesystem(Path("/")) == "unknown"
    assert machine.cpu_model()


def test_a_source_larger_than_memory_is_told() -> None:
    assert len(machine.memory_notes(1 << 60)) == 1
    assert machine.memory_notes(1) == []


def test_the_file_system_is_that_of_the_innermost_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [
        "22 1 254:0 / / rw,relatime - ext4 /dev/root rw",
        "30 22 0:30 / /srv rw - xfs /dev/sdb rw",
        r"31 30 0:31 / /srv/my\040images rw shared:1 - btrfs /dev/sdc rw",
    ]
    monkeypatch.setattr(machine, "_read", lambda path: "\n".join(mounts))
    monkeypatch.setattr(machine.os.path, "realpath", str)
    found = [machine.filesystem(Path(path)) for path in ("/srv/my images/x", "/srv/my", "/srvx")]
    assert found == ["btrfs", "xfs", "ext4"]


def test_the_first_failure_stops_the_others_and_is_the_one_raised() -> None:
    stopped: list[bool] = []
    reader, writer = os.pipe()

    def stop() -> None:
        stopped.append(True)
        os.close(writer)

    def fail() -> None:
        raise OSError(5, "the first")

    try:
        with pytest.raises(OSError, match="the first"):
            together([lambda: os.read(reader, 1) and None, fail], stop)  # the read ends only by stop()
    finally:
        os.close(reader)
    assert stopped == [True]


def test_the_stopwatch_counts_the_cpu_of_ended_children() -> None:
    watch = Stopwatch()
    child = os.spawnvp(os.P_WAIT, "python3", ["python3", "-c", "sum(range(10**6))"])
    sample = watch.read()
    assert child == 0
    assert sample.seconds > 0
    assert sample.cpu > 0
