"""Other programs that do the same, by the key of the workload in which they are shown. peer.py: how they are timed and checked."""

from __future__ import annotations

from collections.abc import Sequence

from compare.job import Job
from compare.peers import commands, fan_out, glance_store, rclone, real_glance


def peers_of(workload: str, with_glance: bool) -> Sequence[Job]:
    """``with_glance``: also a real Glance, which takes minutes a round."""
    if workload == "peers":
        return [job for family in (commands, fan_out, rclone, glance_store) for job in family.jobs()]
    if workload == "glance" and with_glance:
        return real_glance.jobs()
    return ()
