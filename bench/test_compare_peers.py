"""Peers of `compare` on 8 MiB: each makes three right copies, and one that does not is caught."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from compare.__main__ import with_peers
from compare.cached import both
from compare.ground import Ground
from compare.job import Job
from compare.peers import commands, fan_out, glance_store, installing, peers_of, rclone, real_glance
from compare.peers.peer import SOURCE, STORES, Copied, Copy, peer, run
from compare.result import Role, Row, Sample
from compare.sources import made
from compare.workloads import all_workloads
from compare.workloads.peers import ahead

SIZE = 8 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    ground = Ground(tmp_path_factory.mktemp("peers"), SIZE)
    made(ground, SOURCE)
    return ground


@pytest.fixture
def ground(place: Ground) -> Iterator[Ground]:
    yield place
    for path in (place.root / "stores", place.root / "work"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def rclone_installed() -> None:
    if os.environ.get("GLANCE_STREAM_NO_SKIPS") == "1":
        assert installing.missing(rclone.REQUIREMENTS) is None
    elif not installing.installed(rclone.REQUIREMENTS):
        pytest.skip("rclone is not installed: `PYTHONPATH=bench python -m compare run --only peers --size 8MiB --rounds 1` does it")


def require_copies(ground: Ground, sample: Sample) -> None:
    found = [path for store in ground.stores(STORES) for path in store.iterdir()]
    assert len(found) == STORES
    assert all(filecmp.cmp(path, ground.source(SOURCE), shallow=False) for path in found)
    assert sample.seconds >= sample.values["page_cache_seconds"] > 0
    assert sample.cpu >= 0


@pytest.mark.parametrize("job", [*commands.jobs(), *fan_out.jobs()], ids=lambda job: job.key)
def test_a_peer_makes_three_copies(job: Job, ground: Ground) -> None:
    assert job.unavailable is None or job.unavailable() is None
    require_copies(ground, job.run(ground))


@pytest.mark.parametrize("threads", [1, STORES])
def test_glance_store_makes_three_copies(threads: int, ground: Ground) -> None:
    pytest.importorskip("glance_store")
    require_copies(ground, run(ground, partial(glance_store.added, threads=threads, python=sys.executable)))


@pytest.mark.timeout(600)  # it may be installed first
@pytest.mark.usefixtures("rclone_installed")
@pytest.mark.parametrize("job", rclone.jobs(), ids=lambda job: job.key)
def test_rclone_makes_three_copies(job: Job, ground: Ground) -> None:
    require_copies(ground, job.run(ground))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("rclone_installed")
def test_rclones_own_check_of_a_union_does_not_see_a_bad_second_copy(ground: Ground) -> None:
    """Which is why each copy is checked by itself: a later rclone may do better, then the peer should."""
    run(ground, partial(rclone.union, check=False))
    stores = ground.stores(STORES)
    name = ground.source(SOURCE).name
    with (stores[1] / name).open("r+b") as file:
        file.write(b"not what was there")
    rclone_program, config = str(installing.VENV / "bin" / "rclone"), str(ground.work() / "rclone.conf")
    command = [rclone_program, "--config", config, "--quiet", "check", "--one-way", str(ground.source(SOURCE).parent)]
    codes = [
        subprocess.run([*command, str(where), "--include", f"/{name}"], capture_output=True).returncode
        for where in ("all:", *stores)
    ]
    assert [code == 0 for code in codes] == [True, True, False, True]


@contextmanager
def claims(ground: Ground, content: bytes, digest: str) -> Iterator[Copy]:
    def copy() -> Copied:
        files = [store / "copy" for store in ground.stores(STORES)]
        for file in files:
            file.write_bytes(content)
        return Copied(files, {"md5": digest})

    yield copy


def test_a_peer_that_did_less_is_an_error(ground: Ground) -> None:
    content = ground.source(SOURCE).read_bytes()
    right = ground.digest(SOURCE, "md5")
    run(ground, partial(claims, content=content, digest=right))
    with pytest.raises(ValueError, match="sizes"):
        run(ground, partial(claims, content=content[:-1], digest=right))
    with pytest.raises(ValueError, match="md5"):
        run(ground, partial(claims, content=content, digest="0" * 32))


def test_a_thread_that_can_not_write_stops_the_others(ground: Ground) -> None:
    """And the reader does not wait for it: its queue is far shorter than the source."""
    paths = [store / "copy" for store in ground.stores(STORES)]
    paths[1].touch()
    with pytest.raises(FileExistsError):
        fan_out.fan_out(ground.source(SOURCE), paths)


def test_one_run_of_a_peer_gives_two_rows() -> None:
    values = {"page_cache_seconds": 2.0, "page_cache_user": 0.5, "page_cache_system": 0.25, "staging_seconds": 9.0}
    job = peer("tool", "a tool", partial(claims, content=b"", digest=""))
    durable, cached = both(Row(job.key, job.title, job.role, job.kind, [Sample(3.0, 0.6, 0.3, values=values)]))
    assert (durable.key, durable.title, durable.seconds) == ("tool", "a tool, fsync", 3.0)
    assert durable.samples[0].values == {"staging_seconds": 9.0}
    assert (cached.key, cached.title, cached.seconds, cached.cpu) == ("tool-cached", "a tool, cached", 2.0, 0.75)


def test_a_row_of_ours_stays_one_row() -> None:
    row = Row("ours", "ours", "ours", "", [Sample(1.0, 1.0, 0.0, values={"images_per_second": 1.0})])
    assert both(row) == [row]


def test_peers_are_shown_in_their_workloads() -> None:
    shown = [*peers_of("peers", True), *peers_of("glance", True)]
    assert {job.role for job in shown} == {"peer"}
    assert len({job.key for job in shown}) == len(shown)
    assert all(len(job.title) <= 44 for job in shown)
    assert not peers_of("glance", False)
    assert not peers_of("raw1", True)


def row(key: str, role: Role, seconds: float) -> Row:
    return Row(key, f"title of {key}", role, "", [Sample(seconds, 0.0, 0.0)])


def test_the_target_is_the_fastest_peer_that_does_as_much() -> None:
    rows = [
        row("ours", "ours", 2.0),
        row("ours-md5", "variant", 0.1),
        row("tee", "peer", 5.0),
        row("tee-cached", "peer", 1.0),
        row("cp", "peer", 3.0),
        row("glance-1-shipped", "peer", 1.0),
    ]
    target = ahead({each.key: each for each in rows}, None)
    assert target is not None
    assert "title of cp" in target.text
    assert (target.measured, target.reached) == (1.5, True)
    slower = ahead({each.key: each for each in [row("ours", "ours", 4.0), *rows[1:]]}, None)
    assert slower is not None
    assert not slower.reached


def test_there_is_no_target_without_a_peer() -> None:
    assert ahead({"ours": row("ours", "ours", 1.0)}, None) is None
    assert ahead({"tee": row("tee", "peer", 1.0)}, None) is None


def test_rounds_of_glance_are_asked_for() -> None:
    [found] = [workload for workload in with_peers(all_workloads(), True, 2) if workload.key == "glance"]
    assert found.rounds == 2
    assert "glance" not in [workload.key for workload in with_peers(all_workloads(), False)]


def test_glance_is_run_in_four_ways() -> None:
    assert [job.key for job in real_glance.jobs()] == ["glance-1", "glance-1-shipped", "glance-3", "glance-3-shipped"]
