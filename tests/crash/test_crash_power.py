"""Power cuts in short, that they find an fsync that was left out, and the model of the disk itself."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crash.power import CUTS, PowerHarness, build_shim, compiler
from crash.power_cut import Disk
from crash.power_log import Did, read_log

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="needs a C compiler: install gcc, or another cc"),
    pytest.mark.timeout(300),  # on a machine that is busy with other things
]

BEGIN = "import ctypes, os, sys; ctypes.CDLL(None).power_log_begin(sys.argv[1].encode(), sys.argv[2].encode()); "


def cut_power(directory: Path, seed: int, count: int, ignore: str | None = None) -> list[dict[str, Any]]:
    harness = PowerHarness(directory, seed, ignore=ignore)
    try:
        report = harness.run(count, most_violations=1)
    finally:
        harness.close()
    assert report.violations or report.total >= count
    return report.violations


def test_power_cuts(tmp_path: Path) -> None:
    assert cut_power(tmp_path, 1, 3 * CUTS) == []


@pytest.mark.parametrize("ignore", ["file", "directory"])
def test_an_fsync_that_is_left_out_is_found(tmp_path: Path, ignore: str) -> None:
    """It takes about 20 cuts; the rest is for a day of bad luck."""
    assert cut_power(tmp_path, 3, 200, ignore)


class Cautious(random.Random):
    """Nothing survives that was not synced: the first of each choice, and no luck."""

    def choice(self, choices: Any) -> Any:
        return choices[0]

    def random(self) -> float:
        return 0.5


class Lucky(Cautious):
    """All does."""

    def choice(self, choices: Any) -> Any:
        return choices[1]

    def random(self) -> float:
        return 0.0


PROGRAM = """
os.chdir(sys.argv[2])
os.mkdir("made")
fd = os.open("synced", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"one "); os.fsync(fd); os.write(fd, b"two"); os.close(fd)
top = os.open(".", os.O_RDONLY); os.fsync(top)
with open("lost", "w") as file: file.write("three")
os.rename("synced", "renamed")
fd = os.open("old", os.O_WRONLY); os.ftruncate(fd, 2); os.pwrite(fd, b"X", 9000); os.close(fd)
os.link("old", "linked")
os.unlink("removed")
print("told", flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """After the program above."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").write_text("as before")
    (root / "removed").write_text("x")
    disk = Disk(root)
    log = tmp_path / "log"
    environment = {"LD_PRELOAD": str(build_shim(tmp_path))}
    command = [sys.executable, "-c", BEGIN + PROGRAM, str(log), str(root)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)
    records = read_log(log)
    assert [record.content for record in records if record.did is Did.TOLD] == [b"told\n"]
    for record in records:
        disk.apply(record)
    return disk


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def test_what_was_synced_is_there(disk: Disk, tmp_path: Path) -> None:
    disk.cut(Cautious())
    assert tree(tmp_path / "root") == {"made": None, "synced": b"one ", "old": b"as before", "removed": b"x"}


def test_what_was_not_may_be_too(disk: Disk, tmp_path: Path) -> None:
    disk.cut(Lucky())
    old = b"as" + bytes(8998) + b"X"
    assert tree(tmp_path / "root") == {"made": None, "renamed": b"one two", "lost": b"three", "old": old, "linked": old}


def test_any_part_of_it_may_be(disk: Disk, tmp_path: Path) -> None:
    """Never both names of a rename, never what was synced gone."""
    seen = set()
    for seed in range(60):
        disk.cut(random.Random(seed))
        found = tree(tmp_path / "root")
        assert ("synced" in found) != ("renamed" in found)
        assert (found.get("synced") or found.get("renamed") or b"").startswith(b"one ")
        seen |= {name for name, content in found.items() if content != b""}
    assert {"linked", "lost", "removed", "renamed", "synced"} <= seen
