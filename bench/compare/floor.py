"""The least time that a workload can take on this machine, from what its parts take alone in the same run."""

from __future__ import annotations

from collections.abc import Iterable

from compare.result import Floor, Row, Rows, Target, TargetRule, at_least

# What to say of a limit, to somebody who wonders what would help.
SENTENCES = {
    "source": "reading the source takes longest: a faster source would help",
    "decode": "decompression on one core takes longest: another format or a faster core would help",
    "digest": "one digest on one core takes longest: a faster algorithm (sha256 where the CPU has it) or a faster core would help",
    "store": "writing takes longest: faster disks, or more of them, would help",
    "cpu": "all cores together are busy all the time: more cores would help",
}


def floor_of(rows: Iterable[Row], cores: int) -> Floor | None:
    """None without parts. Of the rows that are parts:

    - sources, decoders and digests each do work of their own, and at once: the slowest of a kind is its bound;
    - writers are alternatives for the same work: the fastest is the bound;
    - all their CPU (of the writers that of the fastest), spread evenly over the cores, is one more bound.
    """
    parts = [row for row in rows if row.role == "part"]
    if not parts:
        return None
    writers = [row for row in parts if row.kind == "store"]
    needed = [row for row in parts if row.kind != "store"]
    if writers:
        needed.append(min(writers, key=lambda row: row.seconds))
    bounds: dict[str, float] = {}
    for row in needed:
        bounds[row.kind] = max(row.seconds, bounds.get(row.kind, 0.0))
    bounds["cpu"] = sum(row.cpu for row in needed) / cores
    limit = max(bounds, key=lambda name: bounds[name])
    return Floor(bounds[limit], limit, bounds)


def of_floor(wanted: float) -> TargetRule:
    """The pass has at least this share of the floor's rate; medians."""

    def rule(rows: Rows, floor: Floor | None) -> Target | None:
        ours = next((row for row in rows.values() if row.role == "ours"), None)
        if ours is None or floor is None:
            return None
        return at_least(f">= {wanted:.2f} of the floor's rate", wanted, floor.seconds / ours.seconds)

    return rule


def of_row(wanted: float, key: str, text: str) -> TargetRule:
    """The pass has at least this share of the rate of another row."""

    def rule(rows: Rows, floor: Floor | None) -> Target | None:
        ours = next((row for row in rows.values() if row.role == "ours"), None)
        if ours is None or key not in rows:
            return None
        return at_least(f">= {wanted:.2f} of {text}", wanted, rows[key].seconds / ours.seconds)

    return rule
