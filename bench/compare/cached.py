"""Two rows from one run of a program that leaves its files in the page cache: when it ended, and when they were on the disk."""

from __future__ import annotations

import msgspec

from compare.result import Row, Sample

DURABLE, CACHED = ", fsync", ", cached"
SUFFIX = "-cached"
EARLY = ("page_cache_seconds", "page_cache_user", "page_cache_system")


def with_early(durable: Sample, early: Sample) -> Sample:
    """The sample of the whole, which also tells what had been used when the program ended."""
    values = dict(zip(EARLY, (early.seconds, early.user, early.system), strict=True))
    return msgspec.structs.replace(durable, values={**durable.values, **values})


def both(row: Row) -> list[Row]:
    """The row without these figures, and after it the one that is made of them; the row alone if it has none."""
    if not all(EARLY[0] in sample.values for sample in row.samples):
        return [row]
    title = row.title.removesuffix(DURABLE) + CACHED
    early = [_early(sample.values) for sample in row.samples]
    durable = [msgspec.structs.replace(sample, values=_rest(sample.values)) for sample in row.samples]
    return [msgspec.structs.replace(row, samples=durable), Row(row.key + SUFFIX, title, row.role, row.kind, early)]


def _early(values: dict[str, float]) -> Sample:
    seconds, user, system = (values[name] for name in EARLY)
    return Sample(seconds, user, system)


def _rest(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in EARLY}
