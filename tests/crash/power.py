"""Power cuts: a command is logged call by call and cut at many points; each disk that may be left is recovered and looked at.

The stores are file stores and the catalogue is SQLite, all below one directory, which is rebuilt in its place for each cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crash.harness import DONE, Harness, outcome
from crash.places import FilePlace
from crash.power_cut import Disk
from crash.power_log import Did, Record, read_log
from crash.victims import told_result
from crash.workload import Operation

SHIM = Path(__file__).with_name("shim.c")
CUTS = 8  # of one command
CATALOGUE = "state/of/catalogue.db"
STORES = ("file1", "file2", "file3")


def compiler() -> str | None:
    return shutil.which("cc")


def build_shim(directory: Path) -> Path:
    library = directory / "shim.so"
    command = [compiler() or "cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SHIM)]
    subprocess.run(command, check=True, timeout=60)
    return library


class PowerHarness(Harness):
    """``ignore``: an fsync that is left out, of every "file" or every "directory" of the stores; the model must notice."""

    def __init__(self, directory: Path, seed: int, *, ignore: str | None = None, about: Mapping[str, Any] | None = None) -> None:
        self._root = directory / "site"
        self._root.mkdir()
        self._log = directory / "power.log"
        self._power = {"log": str(self._log), "root": str(self._root)}
        if ignore is not None:
            self._power |= {"ignore": ignore, "below": str(self._root / "file")}
        super().__init__(
            directory,
            [FilePlace(store_id, self._root / store_id) for store_id in STORES],
            f"sqlite:///{self._root}/{CATALOGUE}",
            seed,
            about=dict(about or {}),
            preload=build_shim(directory),
        )

    def _point(self) -> None:
        """A command, perhaps one that is killed and recovered from, and its cuts; the site lives on after the last of them."""
        operation = self._choose()
        states, contents = dict(self._workload.states), dict(self._workload.contents)
        disk = Disk(self._root)
        self._log.unlink(missing_ok=True)
        self._story = []
        self._log_command(operation)
        records = read_log(self._log)
        told = b""
        for number, record in enumerate(records, 1):
            disk.apply(record)
            if record.did is Did.TOLD:
                told += record.content
            if number in self._cuts(records):
                self._workload.states, self._workload.contents = dict(states), dict(contents)
                self._cut(operation, disk, record, told)
                if self._is_broken:  # nothing more is learnt from this site
                    self._begin_anew()
                    return

    def _begin_anew(self) -> None:
        shutil.rmtree(self._root)
        self._root.mkdir()
        self._workload.states.clear()
        self._is_broken = False

    def _log_command(self, operation: Operation) -> None:
        harm = (
            self._harms.choose(operation.kind, "kill") if self._harms.knows(operation.kind) and self._rng.random() < 0.3 else None
        )
        run = self._launcher.run(*operation.arguments, harm=harm, stdin=operation.stdin, power=self._power)
        self._harms.learn(operation.kind, run)
        self._tell(run, harm)
        if run.status < 0:
            self._tell(self._launcher.run("recover", power=self._power))
        self._chosen: set[int] | None = None

    def _cuts(self, records: list[Record]) -> set[int]:
        """Half of them anywhere, half of them after what is no mere write."""
        if self._chosen is None:
            turns = [number for number, record in enumerate(records, 1) if record.did is not Did.WRITE]
            anywhere = self._rng.choices(range(1, len(records) + 1), k=CUTS // 2)
            self._chosen = {*anywhere, *self._rng.choices(turns, k=CUTS // 2)}
        return self._chosen

    def _cut(self, operation: Operation, disk: Disk, last: Record, told: bytes) -> None:
        story = len(self._story)
        disk.cut(self._rng)
        self._story.append(f"power cut after {last.did.name} {os.path.relpath(last.path or self._root, self._root)}")
        result = told_result(told.decode(errors="replace"))
        done = result is not None and result.get("image_id") == operation.image_id and result["exit_code"] == DONE
        allowed = self._end(operation, frozenset({operation.after}) if done else operation.allowed)
        found = self._look(allowed)
        self.report.points[operation.kind] += 1
        self.report.phases[f"{last.did.name} {_kind(last.path)}".strip()] += 1
        self.report.outcomes[f"{operation.kind}: {outcome(operation, found)}{', and told so' if done else ''}"] += 1
        del self._story[story:]


def _kind(path: str) -> str:
    name = os.path.basename(path)
    if name.startswith("catalogue.db"):
        return name
    return "temporary file" if name.endswith(".part") else "store" if name.startswith("file") else "image" if name else ""
