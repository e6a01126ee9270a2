"""From a command to its work: configuration, site, event loop and signals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from glance_stream import loop, threads
from glance_stream.cli.options import Invocation, ending_signals
from glance_stream.cli.output import Reporter, Result
from glance_stream.cli.results import AmbiguousImage
from glance_stream.errors import EXIT_INTERRUPTED, EXIT_LEFTOVERS, ImageNotFound
from glance_stream.importing import Site
from glance_stream.model import Image

SHORTEST_PREFIX = 4  # of an image id; as short as people will type and long enough to mean one of many


@dataclass(frozen=True)
class Words:
    """What is told of an interrupt: the first, one during a rollback, and one that leaves at once, with its exit code.

    ``{image}`` is a space and the image's id, where one is known.
    """

    stopping: str = "interrupted: rolling back; interrupt again to leave at once, then 'glance-stream recover' finds what is left"
    stopping_already: str = "interrupted: a rollback is under way already; interrupt again to leave at once"
    left: str = "left before the rollback had ended: run 'glance-stream recover{image}'"
    left_code: int = EXIT_LEFTOVERS


RECORDED = Words()
# Of what no record knows recover finds nothing, and its sweep only what was not complete.
UNRECORDED = Words(
    "interrupted: removing the test object; interrupt again to leave at once, and it stays where it is",
    "interrupted: the test object is being removed already; interrupt again to leave at once",
    "left before the test object was gone, and no record knows it; 'glance-stream recover --sweep' removes what is not complete",
)
LOOKING = Words("interrupted: interrupt again to leave at once", left="left at once", left_code=EXIT_INTERRUPTED)

Work = Callable[[Site], Coroutine[Any, Any, Result]]


def with_site(invocation: Invocation, work: Work) -> int:
    """Open the configured site, do the work and tell its result; returns the exit code."""
    loop.require_descriptors()  # before the catalogue fails for want of them and gives another reason
    site = Site.open(invocation.load_config())  # blocking, so before the loop starts

    async def opened() -> Result:
        try:
            return await interruptible(invocation.reporter, work(site))
        finally:
            await site.close()

    return invocation.reporter.finish(loop.run(opened()))


async def interruptible(reporter: Reporter, work: Coroutine[Any, Any, Result], words: Words = RECORDED) -> Result:
    """Do the work; SIGINT, SIGTERM and SIGHUP cancel it once, and it rolls back. A second one leaves at once."""
    task = asyncio.ensure_future(work)
    interrupts = _Interrupts(reporter, task, words)
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, *ending_signals()):
        running.add_signal_handler(number, interrupts.received)
    try:
        return await task
    except asyncio.CancelledError:
        return Result(EXIT_INTERRUPTED, error=("Interrupted", "interrupted"))


class _Interrupts:
    def __init__(self, reporter: Reporter, task: asyncio.Future[Result], words: Words) -> None:
        self._reporter = reporter
        self._task = task
        self._words = words
        self._seen = False

    def received(self) -> None:
        if self._seen:
            self._leave()
        self._seen = True
        if self._reporter.phase == "rolling back":  # a cancellation would end just that
            self._reporter.interrupted(self._words.stopping_already)
        elif self._task.cancel():
            self._reporter.interrupted(self._words.stopping)

    def _leave(self) -> None:
        """Not by an exception: threads that hang in a store would be waited for."""
        image_id = self._reporter.image_id
        left = self._words.left.format(image=f" {image_id}" if image_id else "")
        self._reporter.finish(
            Result(self._words.left_code, {"image_id": image_id} if image_id else {}, error=("Interrupted", left))
        )
        os._exit(self._words.left_code)


async def find_image(site: Site, text: str) -> str:
    """The id of the image that the user means: an id, the beginning of one, or a name. Raises InvalidRequest."""
    if is_id(text):
        return text.lower()
    images = await threads.call(site.catalogue.list_images)
    meant = [image for image in images if image.name == text or _begins(image, text)]
    if not meant:
        short = f" (the beginning of an id needs {SHORTEST_PREFIX} characters)" if len(text) < SHORTEST_PREFIX else ""
        raise ImageNotFound(f"there is no image {text!r}{short}; 'glance-stream list' shows those there are")
    if len(meant) > 1:
        raise AmbiguousImage(f"{text!r} may mean each of {len(meant)} images, give more of the id", meant)
    return meant[0].image_id


def find_store(site: Site, text: str | None) -> str | None:
    """The store's id; a URL may be written in more ways than one. Raises InvalidRequest."""
    return None if text is None else site.store(text).store_id


def _begins(image: Image, text: str) -> bool:
    return len(text) >= SHORTEST_PREFIX and image.image_id.startswith(text.lower())


def is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
