"""Whether the bytes need the interpreter's lock: the engine and the pass beside threads that want it all the time."""

from __future__ import annotations

from dataclasses import replace

from compare.disturbed import THREADS, beside_process, beside_threads
from compare.engine import engine
from compare.floor import of_row
from compare.job import Job
from compare.ours import into_stores
from compare.workload import Workload


def workloads() -> list[Workload]:
    return [
        _beside("threads-engine", "the engine alone", engine()),
        _beside("threads", "raw image into 3 file stores, sha512,", into_stores(3)),
    ]


def _beside(key: str, what: str, quiet: Job) -> Workload:
    title = f"{what} while {THREADS} Python threads of the process compute"
    jobs = [beside_threads(quiet), replace(quiet, role="variant"), beside_process(quiet)]
    return Workload(key, title, jobs, of_row(0.85, quiet.key, "the undisturbed rate"), notes=[NOTE])


NOTE = "the threads together keep one core busy, and so does the process; what they cost more than it is the interpreter's lock"
