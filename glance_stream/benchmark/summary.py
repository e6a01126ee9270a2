"""From the samples of all rounds to rows and a floor. Medians, because one disturbed round must not decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from glance_stream.benchmark.floor import Floor, floor
from glance_stream.benchmark.stopwatch import Sample

# In the order of the table: what the floor is made of, the pass, what it is compared with.
NAMES = {
    "source": "read the source",
    "ring": "read, zero scan, fingerprints",
    "digest": "digest alone (sha512)",
    "stores": "write alone, fsync",
    "pass": "glance-stream, whole pass",
    "sha512sum": "cat | tee | sha512sum",
    "sha512sum+fsync": "cat | tee | sha512sum, fsync",
    "openssl": "cat | tee | openssl dgst -sha512",
    "openssl+fsync": "cat | tee | openssl dgst -sha512, fsync",
}

Samples = Mapping[str, Sequence[Sample]]


def floor_of(samples: Samples, cores: int) -> Floor:
    source, ring, digest, stores = (middle(samples[key]) for key in ("source", "ring", "digest", "stores"))
    return floor(source, ring, digest, stores, cores)


def rows(samples: Samples, size: int, floor_seconds: float) -> list[dict[str, Any]]:
    """Ratios say how many times as long a row takes: as the floor, as the whole pass."""
    whole = middle(samples["pass"]).seconds
    return [_row(key, samples[key], size, floor_seconds, whole) for key in NAMES if key in samples]


def _row(key: str, samples: Sequence[Sample], size: int, floor_seconds: float, whole: float) -> dict[str, Any]:
    typical = middle(samples)
    times = [sample.seconds for sample in samples]
    return {
        "key": key,
        "name": NAMES[key],
        "seconds": typical.seconds,
        "min": min(times),
        "max": max(times),
        "mb_per_second": size / typical.seconds / 1e6,
        "cpu_seconds": typical.cpu,
        "ratio_to_floor": typical.seconds / floor_seconds,
        "ratio_to_pass": typical.seconds / whole,
        "rounds": times,
    }


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each, which need not be of one and the same round."""
    return Sample(median(sample.seconds for sample in samples), median(sample.cpu for sample in samples))
