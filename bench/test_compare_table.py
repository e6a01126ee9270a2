"""The text of a result, and the result as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from compare.floor import floor_of
from compare.result import Kind, Result, Role, Row, Sample, WorkloadResult, at_least, at_most, read, write
from compare.table import WIDTH, render

MACHINE: dict[str, str | int | bool] = {
    "cores": 2,
    "cpu": "AMD EPYC",
    "kernel": "6.18.0",
    "filesystem": "ext4",
    "python": "3.11.7",
    "openssl": "OpenSSL 3.0.19",
    "compiled": True,
}

GOLDEN = """\
2,147 MB, 3 rounds, 2026-01-02T03:04:05+00:00
  Machine  2 cores, AMD EPYC, Linux 6.18.0, ext4
  Software Python 3.11.7, OpenSSL 3.0.19, compiled core
  Note     not quiet: other processes and the kernel used 1.2 cores meanwhile

raw3: raw image into 3 file stores, sha512 (2,147.5 MB)
                                                       median s      min      max     MB/s    CPU s  x floor   x ours
* glance-stream, 3 stores, sha512                         4.200    4.100    123.5      511    5.000     1.05     1.00
- sha512 of bytes in memory (OpenSSL)                     4.000    3.900    4.500      537    3.950     1.00     0.95
- dd oflag=direct bs=4M, 3 files at once                  3.000    2.900    3.600      716    1.500     0.75     0.71
  cat | tee | sha512sum                                  21.000   20.000   30.000      102   25.500     5.25     5.00
    images per second: 12.5
  Floor    4.000 s, the longest of digest 4.000, store 3.000, cpu 2.725
  Limit    digest: one digest on one core takes longest: a faster algorithm (sha256 where the CPU has it) or a faster
           core would help
  Target   >= 0.90 of the floor's rate: 0.9524, reached
  Note     rclone is not installed
  FAILED   peer-cp ended with 1: no space left on device

startup: starting
                                                       median s      min      max     MB/s    CPU s  x floor   x ours
* glance-stream --help                                    0.200    0.190    0.210             0.100              1.00
  Target   <= 0.15 s: 0.2, NOT reached

Targets
  raw3                >= 0.90 of the floor's rate: 0.9524, reached, limit: digest
  startup             <= 0.15 s: 0.2, NOT reached

*: ours. -: a part alone, for the floor. x floor, x ours: how many times as long as it takes. MB are 1,000,000 bytes.
"""


def row(title: str, role: Role, kind: Kind, times: tuple[float, ...], cpu: float, **values: float) -> Row:
    return Row(title, title, role, kind, [Sample(time, cpu * 0.75, cpu * 0.25, values=values) for time in times])


def result() -> Result:
    rows = [
        row("glance-stream, 3 stores, sha512", "ours", "", (4.1, 4.2, 123.456), 5.0),
        row("sha512 of bytes in memory (OpenSSL)", "part", "digest", (4.5, 4.0, 3.9), 3.95),
        row("dd oflag=direct bs=4M, 3 files at once", "part", "store", (3.6, 3.0, 2.9), 1.5),
        row("cat | tee | sha512sum", "peer", "", (30.0, 20.0, 21.0), 25.5, images_per_second=12.5),
    ]
    raw = WorkloadResult(
        "raw3",
        "raw image into 3 file stores, sha512",
        2 << 30,
        rows,
        floor_of(rows, 2),
        at_least(">= 0.90 of the floor's rate", 0.90, 4.0 / 4.2),
        ["rclone is not installed"],
        ["peer-cp ended with 1: no space left on device"],
    )
    start = WorkloadResult(
        "startup",
        "starting",
        0,
        [row("glance-stream --help", "ours", "", (0.19, 0.2, 0.21), 0.1)],
        target=at_most("<= 0.15 s", 0.15, 0.2),
    )
    notes = ["not quiet: other processes and the kernel used 1.2 cores meanwhile"]
    return Result(MACHINE, notes, 2 << 30, 3, "2026-01-02T03:04:05+00:00", [raw, start])


def test_the_table_is_this() -> None:
    assert render(result()) == GOLDEN


def test_no_line_is_wider_than_a_terminal() -> None:
    found = result()
    wide = msgspec.structs.replace(
        found.workloads[0].rows[0], title="a title that is far too long " * 9, samples=[Sample(99999.0, 9e5, 9e5)]
    )
    workload = msgspec.structs.replace(found.workloads[0], rows=[wide], notes=["a note that goes on and on " * 20])
    text = render(msgspec.structs.replace(found, workloads=[workload]))
    assert max(map(len, text.splitlines())) <= WIDTH


def test_of_memory_the_peaks_are_shown() -> None:
    samples = [Sample(1.0, 0.5, 0.5, peak) for peak in (70_000_000, 72_400_000, 71_000_000)]
    workload = WorkloadResult("memory", "peak memory", 2 << 30, [Row("ours", "ours", "ours", "", samples)], shows="peak")
    _, headings, figures, *_ = render(msgspec.structs.replace(result(), workloads=[workload])).split("\n\n")[1].splitlines()
    assert headings.split()[4:6] == ["peak", "MB"]
    assert figures.split()[5] == "72.4"


def test_a_result_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    write(result(), tmp_path / "result.json")
    assert read(tmp_path / "result.json") == result()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"size": "large"}')
    with pytest.raises(msgspec.ValidationError):
        read(tmp_path / "other.json")
