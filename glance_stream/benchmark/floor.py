"""The least time the pass could take on this machine, from what its parts take alone."""

from __future__ import annotations

from dataclasses import dataclass

from glance_stream.benchmark.stopwatch import Sample


@dataclass(frozen=True)
class Floor:
    """``parts``: the seconds that each bound gives. ``limit``: the part that sets the floor."""

    seconds: float
    limit: str
    parts: dict[str, float]


def floor(source: Sample, ring: Sample, digest: Sample, stores: Sample, cores: int) -> Floor:
    """No pass is faster than its slowest part, nor than all its CPU time spread evenly over all cores.

    Digest and stores were each measured with the reading ring before them. The pass reads once, so it is taken off once.
    """
    parts = {
        "digest": digest.seconds,
        "stores": stores.seconds,
        "source": source.seconds,
        "cpu": max(0.0, digest.cpu + stores.cpu - ring.cpu) / cores,
    }
    limit = max(parts, key=lambda name: parts[name])
    return Floor(parts[limit], limit, parts)
