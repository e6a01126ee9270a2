"""What is waited for before anything begins: the package imported, and the tool's help. A new interpreter each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from compare.ground import Ground
from compare.job import Job, Watch
from compare.result import Floor, Role, Rows, Sample, Target, at_most
from compare.workload import Workload

TIMES = 3  # in each round, of which the sample is the mean
MOST = 0.15  # seconds


def workloads() -> list[Workload]:
    jobs = [
        _job("help", "glance-stream --help", "ours", "-m", "glance_stream", "--help"),
        _job("import", "import glance_stream", "variant", "-c", "import glance_stream"),
        _job("nothing", "the interpreter alone", "variant", "-c", "pass"),
    ]
    return [Workload("startup", "starting", jobs, slowest, size=lambda ground: 0)]


def slowest(rows: Rows, floor: Floor | None) -> Target | None:
    ours = [row.seconds for key, row in rows.items() if key in ("startup-help", "startup-import")]
    return at_most(f"<= {MOST} s for import and for --help", MOST, max(ours)) if ours else None


def _job(key: str, title: str, role: Role, *arguments: str) -> Job:
    return Job(f"startup-{key}", title, role, "", partial(run_python, arguments=arguments), ())


def run_python(ground: Ground, arguments: Sequence[str]) -> Sample:
    """Mean of several starts, after one that brings the files into the page cache."""
    command = [sys.executable, *arguments]
    start(command)
    watch = Watch()
    for _ in range(TIMES):
        start(command)
    total = watch.read()
    return replace(total, seconds=total.seconds / TIMES, user=total.user / TIMES, system=total.system / TIMES)


def start(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
