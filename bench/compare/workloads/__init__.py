"""All workloads, in the order of the table. A module is one idea and has ``workloads() -> list[Workload]``."""

from __future__ import annotations

from compare.workload import Workload
from compare.workloads import compressed, concurrent, copying, cpu, engine, memory, peers, raw, small, sparse, startup, threads

MODULES = (raw, compressed, sparse, copying, engine, threads, small, concurrent, memory, cpu, startup, peers)


def all_workloads() -> list[Workload]:
    return [workload for module in MODULES for workload in module.workloads()]
