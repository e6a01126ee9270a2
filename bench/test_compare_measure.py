"""One job in a process of its own, and all jobs in rounds. Nothing here depends on how long anything takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from compare import measure
from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.measure import JobFailed
from compare.result import Sample
from compare.rounds import measure_all, turned
from compare.workload import Workload

SIZE = 1 << 20
HELD = 200 << 20


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, SIZE)


def job(key: str, run: object, sources: tuple[str, ...] = ()) -> Job:
    return Job(key, key, "ours", "", run, sources)  # type: ignore[arg-type]


# What a job does is a function of a module: it is found by name in the job's own process.


def succeeds(ground: Ground) -> Sample:
    return Watch().read(pid=float(os.getpid()), length=float(ground.size))


def holds_memory(ground: Ground) -> Sample:
    watch = Watch()
    return watch.read(length=float(len(bytes(b"x" * HELD))))


def burns(ground: Ground) -> Sample:
    watch = Watch()
    subprocess.run([sys.executable, "-c", "n = 0\nwhile n < 1_000_000: n += 1"], check=True)
    return watch.read()


def fails(ground: Ground) -> Sample:
    print("said before")
    require(1, 2, "copies")
    raise AssertionError("not reached")


def ends_at_once(ground: Ground, code: int) -> Sample:
    os._exit(code)


def reads_input(ground: Ground) -> Sample:
    return Watch().read(read=float(len(sys.stdin.read())))


def hangs(ground: Ground, began: str) -> Sample:
    process = subprocess.Popen(["sleep", "3600"])
    Path(began).write_text(str(process.pid))
    print("begun", flush=True)
    time.sleep(3600)
    raise AssertionError("not reached")


def leaves_a_process(ground: Ground, began: str) -> Sample:
    Path(began).write_text(str(subprocess.Popen(["sleep", "3600"]).pid))
    return Watch().read()


def writes(ground: Ground) -> Sample:
    stores = ground.stores(2)
    require([list(store.iterdir()) for store in stores], [[], []], "what is in the stores before")
    for store in stores:
        (store / "image").write_bytes(ground.source("random").read_bytes())
    (ground.work() / "catalogue").touch()
    return Watch().read()


def test_a_job_has_a_process_of_its_own(ground: Ground) -> None:
    first, second = (measure.run(job("one", succeeds), ground).values for _ in range(2))
    assert len({first["pid"], second["pid"], float(os.getpid())}) == 3
    assert first["length"] == SIZE


def test_its_peak_of_memory_is_its_own(ground: Ground) -> None:
    own = bytearray(HELD)  # ours, which a forked child would have had too
    quiet, busy = (measure.run(job("one", run), ground).peak_bytes for run in (succeeds, holds_memory))
    assert 0 < quiet < HELD <= busy
    assert len(own) == HELD


def test_the_cpu_of_its_children_is_in_it(ground: Ground) -> None:
    assert measure.run(job("one", burns), ground).user > 0


def test_it_has_no_input(ground: Ground) -> None:
    assert measure.run(job("one", reads_input), ground).values["read"] == 0


def test_a_failure_is_told_with_what_it_said(ground: Ground) -> None:
    with pytest.raises(JobFailed, match=r"(?s)^one ended with 1: said before.*ValueError: copies: 1 is not 2$"):
        measure.run(job("one", fails), ground)


@pytest.mark.parametrize("code", [0, 7])
def test_a_job_without_an_answer_failed(ground: Ground, code: int) -> None:
    with pytest.raises(JobFailed, match=rf"^one ended with {code}$"):
        measure.run(job("one", partial(ends_at_once, code=code)), ground)


def test_a_job_that_hangs_is_told_and_ended_with_all_it_began(ground: Ground, tmp_path: Path) -> None:
    began = tmp_path / "began"
    with pytest.raises(JobFailed, match=r"^one did not end in time"):
        measure.run(job("one", partial(hangs, began=str(began))), ground, limit=2)
    if began.exists():  # it had time to begin
        assert ended(int(began.read_text()))


def test_what_a_job_leaves_behind_ends_with_it(ground: Ground, tmp_path: Path) -> None:
    began = tmp_path / "began"
    measure.run(job("one", partial(leaves_a_process, began=str(began))), ground)
    assert ended(int(began.read_text()))


def ended(pid: int) -> bool:
    """Killed at least; nobody may have waited for it yet."""
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_rounds_take_turns() -> None:
    places = [(key, Ground(Path("/"), 1)) for key in "abcde"]
    orders = ["".join(key for key, _ in turned(places, round_, 5)) for round_ in range(5)]
    assert orders == ["abcde", "aedcb", "cdeab", "cbaed", "eabcd"]
    before = {(one, other) for order in orders for one, other in pairwise(order)}
    assert all(len({one for one, other in before if other == key}) > 1 for key in "abcde")


def test_what_was_measured_before_an_interruption_is_kept(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(job: Job, ground: Ground) -> Sample:
        if job.key == "second":
            raise KeyboardInterrupt
        return Sample(1.0, 0.5, 0.5)

    monkeypatch.setattr(measure, "run", run)
    workload = Workload("one", "one", [job(key, succeeds) for key in ("first", "second", "third")])
    found = measure_all([workload], ground, 3, lambda text: None)
    assert found.interrupted
    assert [key for key, _ in found.samples] == ["first"]


def test_each_job_runs_once_a_round_and_its_traces_are_removed(ground: Ground) -> None:
    shared = job("shared", writes, ("random",))
    workloads = [
        Workload("one", "one", [shared, job("broken", fails)]),
        Workload("two", "two", [shared, job("rare", succeeds)], rounds=1),
        Workload("small", "small", [shared], ground=lambda ground: ground.sized(SIZE // 2)),
    ]
    said: list[str] = []
    found = measure_all(workloads, ground, 2, said.append)
    small = ground.sized(SIZE // 2)
    counts = {(key, at.size): len(samples) for (key, at), samples in found.samples.items()}
    assert counts == {("shared", SIZE): 2, ("rare", SIZE): 1, ("shared", SIZE // 2): 2}
    assert list(found.failed) == [("broken", ground)]
    assert len(said) == 4 + 2  # what failed is not run again
    assert [path.name for path in ground.root.iterdir()] == ["sources"]
    assert [at.source("random").stat().st_size for at in (ground, small)] == [SIZE, SIZE // 2]
