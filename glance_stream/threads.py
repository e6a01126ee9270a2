"""Blocking calls on daemon threads, awaited from the event loop.

The loop's own executor joins its threads at exit, so that one call hung in a dead NFS mount would keep the whole process from
ending. These threads are daemons: a hung call is abandoned, reported by its time limit, and dies with the process. Idle threads
are kept for reuse, because starting one costs about as much as writing a small image.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 10.0  # a burst of small images reuses its threads; a quiet process soon has none


class _Worker:
    def __init__(self, pool: DaemonThreads) -> None:
        self.pool = pool
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="glance-stream", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                call = self.calls.get(timeout=IDLE_SECONDS)
            except Empty:
                if self.pool.retire(self):
                    return
                continue
            call()
            del call  # what the call holds must not live until the next one
            self.pool.idle(self)


class DaemonThreads(Executor):
    """As many threads as there are calls under way, each of them free to hang."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker(self)
        worker.calls.put(call)
        return future

    def idle(self, worker: _Worker) -> None:
        """The worker is ready for its next call."""
        with self._lock:
            self._idle.append(worker)

    def retire(self, worker: _Worker) -> bool:
        """Whether the worker may end: not if it was given a call in this moment."""
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return True
            return False


THREADS = DaemonThreads()


async def call(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Await ``fn(*args, **kwargs)`` run on a daemon thread. Cancelling stops the waiting, not the call."""
    future = THREADS.submit(fn, *args, **kwargs)
    return await asyncio.wrap_future(future)


def abandon(future: asyncio.Future[Any]) -> None:
    """Nobody waits for this any more; its late error, if any, is not reported as 'never retrieved'."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


async def to_its_end(call: Awaitable[Any], on_cancel: Callable[[], None] | None = None) -> bool:
    """Await a call that must not be given up half-way. Raises what it raises.

    Returns whether this task was cancelled meanwhile: what that means is for the caller to say. ``on_cancel`` is told at once.
    """
    future = asyncio.ensure_future(call)
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
            if on_cancel is not None:
                on_cancel()
    future.result()
    return cancelled
