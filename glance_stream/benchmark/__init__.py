"""How fast the pass is on this machine and these stores, against what its parts take alone and what a shell pipeline takes.

Everything runs on the same bytes in one session, in alternating rounds, because figures of a shared machine taken at different
times can't be compared. What is measured, and why it is fair, stands with each part in ``measures.py`` and ``pipelines.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glance_stream.benchmark import machine, pipelines, workload
from glance_stream.benchmark.measures import PARTS, Bench, Part
from glance_stream.benchmark.noise import Noise
from glance_stream.benchmark.peak import peak_of_pass
from glance_stream.benchmark.places import Place, work_places
from glance_stream.benchmark.stopwatch import Sample
from glance_stream.benchmark.summary import floor_of, rows
from glance_stream.errors import InvalidRequest
from glance_stream.stores.file.system import mapped

__all__ = ["SMALLEST", "run"]

SMALLEST = 8 << 20  # two slots: below that the start of threads is what would be measured

Report = Callable[[dict[str, Any]], None]


def run(size: int, directories: Sequence[Path], runs: int = 3, report: Report | None = None) -> dict[str, Any]:
    """Measure on ``size`` bytes of incompressible data with one file store in each directory, in ``runs`` rounds. Blocks.

    The result is fit for JSON and for :func:`glance_stream.benchmark.table.render`. A directory given twice counts as two stores.
    Whatever happens, the directories are left as they were. Raises InvalidRequest before anything is written: no such directory,
    too little room, a size or number of rounds out of range; later StoreError and what a transfer raises.
    """
    if size < SMALLEST:
        raise InvalidRequest(f"--size must be at least {SMALLEST >> 20} MiB")
    if runs < 1:
        raise InvalidRequest("at least one round is needed")
    with mapped("bench"), work_places(directories, size) as places:
        return _measure(Bench(places[0].work / "source", size, places), runs, report or (lambda event: None))


def _measure(bench: Bench, runs: int, report: Report) -> dict[str, Any]:
    report(_progress("preparing", 0, runs))
    workload.make(bench.source, bench.size)
    found, missing = pipelines.installed()
    noise = Noise()
    samples = _rounds(bench, {**PARTS, **found}, runs, report)
    notes = [*missing, *machine.memory_notes(bench.size), *noise.notes()]
    report(_progress("memory", runs, runs))
    memory = peak_of_pass(bench.source, [place.work for place in bench.places])
    facts = machine.facts()
    floor = floor_of(samples, facts["cores"])
    return {
        "size": bench.size,
        "runs": runs,
        "machine": facts,
        "directories": [_described(place) for place in bench.places],
        "rows": rows(samples, bench.size, floor.seconds),
        "floor": {"seconds": floor.seconds, "limit": floor.limit, "parts": floor.parts},
        "memory": memory,
        "notes": notes,
    }


def _rounds(bench: Bench, parts: Mapping[str, Part], runs: int, report: Report) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for round_ in range(runs):
        for name in _rotated(list(parts), round_):
            report(_progress(name, round_ + 1, runs))
            workload.warm(bench.source)
            for key, sample in parts[name](bench).items():
                samples.setdefault(key, []).append(sample)
            for place in bench.places:
                place.clear(bench.source)
    return samples


def _rotated(names: list[str], by: int) -> Iterator[str]:
    """No part always comes after the same other, whose write-back or freed memory it would inherit each time."""
    for at in range(len(names)):
        yield names[(at + by) % len(names)]


def _progress(phase: str, round_: int, rounds: int) -> dict[str, Any]:
    return {"event": "progress", "phase": phase, "round": round_, "rounds": rounds}


def _described(place: Place) -> dict[str, Any]:
    return {"path": str(place.path), "filesystem": machine.filesystem(place.path), "mode": place.mode}
