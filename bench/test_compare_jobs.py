"""Every workload's jobs at a tiny size: they do their work, and find it right themselves. Nothing is timed."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from compare.__main__ import main, with_peers
from compare.floor import floor_of
from compare.ground import Ground
from compare.job import Job
from compare.result import Result, Row, Sample, read
from compare.sources import made
from compare.workload import Workload
from compare.workloads import all_workloads

SIZE = 8 << 20
TITLE = 50

WORKLOADS = [workload for workload in all_workloads() if not workload.peers]
JOBS = {(workload.key, job.key): (workload, job) for workload in WORKLOADS for job in workload.jobs}
ONCE = list({job.key + str(workload.ground(Ground(Path("/"), SIZE)).size): at for at, (workload, job) in JOBS.items()}.values())


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    root = tmp_path_factory.mktemp("compare")
    yield Ground(root, SIZE)
    shutil.rmtree(root)


@pytest.mark.parametrize("at", ONCE, ids="/".join)
def test_job(ground: Ground, at: tuple[str, str]) -> None:
    workload, job = JOBS[at]
    if job.unavailable is not None and (reason := job.unavailable()):
        pytest.skip(reason)
    place = workload.ground(ground)
    for name in job.sources:
        made(place, name)
    try:
        # As its own process gets it.
        sample = pickle.loads(pickle.dumps(job.run))(place)
    finally:
        for name in ("stores", "work"):
            shutil.rmtree(ground.root / name, ignore_errors=True)
    assert isinstance(sample, Sample)
    assert sample.seconds > 0
    assert workload.size(place) >= 0


@pytest.mark.parametrize("workload", all_workloads(), ids=lambda workload: workload.key)
def test_workload(workload: Workload) -> None:
    assert [job.role for job in workload.jobs].count("ours") == 1
    assert all((job.kind != "") >= (job.role == "part") for job in workload.jobs)
    assert len({job.key for job in workload.jobs}) == len(workload.jobs)
    assert all(len(job.title) <= TITLE for job in workload.jobs)


class Figures(dict[str, float]):
    def __missing__(self, name: str) -> float:
        return 1.0


@pytest.mark.parametrize("workload", with_peers(all_workloads(), with_glance=True), ids=lambda workload: workload.key)
def test_what_failed_leaves_the_other_rows_to_be_judged(workload: Workload) -> None:
    rows = {job.key: Row(job.key, job.title, job.role, job.kind, [Sample(1, 1, 1, 1, Figures())]) for job in workload.jobs}
    subsets = [rows, {}, *({key: row for key, row in rows.items() if key != left} for left in rows)]
    for subset in subsets:
        target = workload.target and workload.target(subset, floor_of(subset.values(), 2))
        assert target is None or subset
        assert not workload.remarks or isinstance(workload.remarks(subset), list)
    assert not workload.target or workload.target(rows, floor_of(rows.values(), 2))


def test_jobs_of_one_key_do_the_same() -> None:
    """They are run once for all workloads that name them."""
    known: dict[str, Job] = {}
    for _, job in JOBS.values():
        other = known.setdefault(job.key, job)
        assert pickle.dumps(other.run) == pickle.dumps(job.run), job.key
        assert other.sources == job.sources


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    out, directory = tmp_path / "out", tmp_path / "disk"
    arguments = [
        "run",
        "--size",
        "8MiB",
        "--rounds",
        "1",
        "--no-peers",
        "--only",
        "raw1",
        "--dir",
        str(directory),
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert (out / "table.txt").read_text() in done.output
    result: Result = read(out / "result.json")
    [workload] = result.workloads
    assert {row.role for row in workload.rows} == {"ours", "part"}
    assert workload.floor is not None
    assert workload.target is not None
    assert list(directory.iterdir()) == []
    again = CliRunner().invoke(main, ["report", str(out / "result.json")], catch_exceptions=False)
    assert again.exit_code == 0
    assert (out / "table.txt").read_text() in again.output


def test_a_run_that_is_asked_for_something_else(tmp_path: Path) -> None:
    for arguments, said in (
        (["run", "--only", "nothing"], "no workload 'nothing'; there are raw1, "),
        (["run", "--size", "2 elephants"], "unknown unit 'elephants'"),
        (["run", "--size", "1000TiB", "--dir", str(tmp_path)], "GB free"),
    ):
        done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path)])
        assert done.exit_code == 2
        assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_every_workload() -> None:
    listed = CliRunner().invoke(main, ["list"], catch_exceptions=False).output
    assert all(f"{workload.key}: {workload.title}\n" in listed for workload in all_workloads())
