"""The same work while others compute without pause: threads of its process, as a busy server's do, or another process.

The threads want the interpreter's lock all the time and together use one core. A process uses a core too, and no lock: the
difference between the two is what the lock costs.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from compare.job import Job
from compare.result import Sample

THREADS = 4


def beside_threads(job: Job) -> Job:
    """The job, ours. The CPU of the threads is in its CPU."""
    return _beside(replace(job, role="ours"), "threads", f"beside {THREADS} threads", threads)


def beside_process(job: Job) -> Job:
    return _beside(replace(job, role="variant"), "process", "beside a process", process)


def _beside(job: Job, key: str, title: str, beside: Callable[[], AbstractContextManager[None]]) -> Job:
    """The job's ``run`` takes ``beside``, entered for the time in which the watch runs."""
    run = cast(Callable[..., Sample], job.run)
    return replace(job, key=f"{job.key}-{key}", title=f"{job.title}, {title}", run=partial(run, beside=beside))


@contextmanager
def threads() -> Iterator[None]:
    ended = threading.Event()
    computing = [threading.Thread(target=_compute, args=(ended,), daemon=True) for _ in range(THREADS)]
    for thread in computing:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in computing:
            thread.join()


def _compute(ended: threading.Event) -> None:
    number = 1
    while not ended.is_set():
        for _ in range(1000):
            number = (number * 1103515245 + 12345) & 0xFFFFFFFF


@contextmanager
def process() -> Iterator[None]:
    """The same computation; it says when it begins."""
    program = "print(flush=True)\nnumber = 1\nwhile True: number = (number * 1103515245 + 12345) & 0xFFFFFFFF"
    computing = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert computing.stdout is not None
        computing.stdout.readline()
        yield
    finally:
        computing.kill()
        computing.communicate()
