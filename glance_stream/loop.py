"""The one place that chooses the event loop: uvloop where it is installed, asyncio's own otherwise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from glance_stream.errors import InvalidRequest

T = TypeVar("T")

# A loop takes 8, a catalogue 4, an image and a directory one each and every store one: fewer can't end well.
DESCRIPTORS = 16


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine on a new loop and return what it returns. Signals are the caller's.

    Raises InvalidRequest, with nothing begun, where the process may not open enough files: uvloop would abort it.
    """
    try:
        require_descriptors()
        runner = asyncio.Runner(loop_factory=_factory())
    except BaseException:
        coroutine.close()
        raise
    with runner:
        return runner.run(coroutine)


def require_descriptors() -> None:
    """Raises InvalidRequest unless as many files can be opened as the shortest operation needs."""
    taken: list[int] = []
    try:
        while len(taken) < DESCRIPTORS:
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        room = f"only {len(taken)} more files can be opened ({error.strerror}), and {DESCRIPTORS} at least are needed"
        raise InvalidRequest(f"{room}: raise 'ulimit -n'") from error
    finally:
        for fd in taken:
            os.close(fd)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # here and not above: `--help` has no use for a loop
    except ImportError:
        return None
    return uvloop.new_event_loop
