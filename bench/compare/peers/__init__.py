"""Other programs that do the same, by the key of the workload in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from compare.job import Job


def peers_of(workload: str, with_glance: bool) -> Sequence[Job]:
    """``with_glance``: also a real Glance, which takes minutes a round."""
    return ()
