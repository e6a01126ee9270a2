"""The result as plain text of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any

WIDTH = 100
NAME = 42
COLUMN = 8

# What to do about it stands with what it is.
LIMITS = {
    "digest": "one core hashing: a faster algorithm (sha256 on CPUs with SHA extensions) or a faster core would help",
    "stores": "writing: faster or more disks would help",
    "source": "reading the source",
    "cpu": "all cores together: more cores would help",
}


def render(result: Mapping[str, Any]) -> str:
    """Text for a terminal, without colour; ends with a line break."""
    sections = [_head(result), _table(result["rows"]), _floor(result), _facts(result), _notes(result["notes"])]
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section))) + "\n"


def _head(result: Mapping[str, Any]) -> Iterable[str]:
    stores, runs = len(result["directories"]), result["runs"]
    yield f"{result['size'] / 1e6:,.1f} MB of random bytes into {_count(stores, 'file store')}, {_count(runs, 'round')}"


def _table(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    yield "".ljust(NAME) + "".join(name.rjust(COLUMN) for name in ("seconds", "min", "max", "MB/s", "CPU s", "x floor", "x pass"))
    for row in rows:
        times = "".join(_seconds(row[key]).rjust(COLUMN) for key in ("seconds", "min", "max"))
        ratios = "".join(f"{row[key]:{COLUMN}.2f}" for key in ("ratio_to_floor", "ratio_to_pass"))
        yield f"{row['name']:{NAME}}{times}{row['mb_per_second']:{COLUMN}.0f}{row['cpu_seconds']:{COLUMN}.2f}{ratios}"


def _floor(result: Mapping[str, Any]) -> Iterable[str]:
    floor, memory = result["floor"], result["memory"]
    bounds = ", ".join(f"{name} {seconds:.3f}" for name, seconds in floor["parts"].items())
    yield from _wrapped("Floor", f"{floor['seconds']:.3f} s, the longest of {bounds}")
    yield from _wrapped("Limit", f"{floor['limit']}: {LIMITS[floor['limit']]}")
    peak, ring = memory["peak_bytes"] / 1e6, memory["ring_bytes"] / 1e6
    yield from _wrapped("Memory", f"{peak:.1f} MB at the peak of the whole process, {ring:.1f} MB of them the ring")


def _facts(result: Mapping[str, Any]) -> Iterable[str]:
    facts = result["machine"]
    core = "compiled core" if facts["compiled"] else "slow Python twin, NOT the compiled core"
    yield from _wrapped("Machine", f"{_count(facts['cores'], 'core')}, {facts['cpu']}, Linux {facts['kernel']}")
    yield from _wrapped("Software", f"Python {facts['python']}, {facts['openssl']}, {core}")
    for place in result["directories"]:
        yield from _wrapped("Store", f"{place['path']} on {place['filesystem']}, {place['mode']} writes")


def _notes(notes: Iterable[str]) -> Iterable[str]:
    for note in notes:
        yield from _wrapped("Note", note)


def _seconds(value: float) -> str:
    """Milliseconds are noise in a long measurement, and would make its columns touch."""
    return f"{value:.3f}" if value < 100 else f"{value:.1f}"


def _wrapped(label: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=f"{label:10}", subsequent_indent=" " * 10)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
