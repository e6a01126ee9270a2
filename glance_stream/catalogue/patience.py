"""How long a database that does not answer is waited for: for a whole budget once, and then, until it answers again, only shortly.

An operation that fails for its sake has more to ask: to record the failure, to let go of its lock. To wait anew for each would keep
its caller for minutes, to hear the same thing each time. `recover` does what was left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from glance_stream.errors import CatalogueUnavailable
from glance_stream.retry import RetryPolicy

LOG = logging.getLogger(__name__)

T = TypeVar("T")

SIGN_SECONDS = 4.0  # of trying in silence; what is over by then is nobody's concern
SHORTLY = RetryPolicy(tries=4, base=0.2, cap=1.0, budget=3.0)


class Patience:
    """With one database, of all threads together. ``name``: the catalogue's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_spent = False
        self._has_warned = False

    def run(self, policy: RetryPolicy, attempt: Callable[[], T]) -> T:
        """What the attempt gives. Raises its last error."""
        began, was_spent = time.monotonic(), self._is_spent

        def watched() -> T:
            answered = True
            try:
                return attempt()
            except CatalogueUnavailable as error:
                answered = False
                if time.monotonic() - began >= SIGN_SECONDS and not was_spent:
                    self._warn(error, policy)
                raise
            finally:
                if answered:
                    self._is_spent = self._has_warned = False

        try:
            return (SHORTLY if was_spent else policy).run(watched)
        except CatalogueUnavailable as error:
            self._is_spent = True
            if was_spent:
                raise CatalogueUnavailable(f"catalogue {self._name}: it still does not answer") from error
            raise

    def _warn(self, error: CatalogueUnavailable, policy: RetryPolicy) -> None:
        if not self._has_warned:
            self._has_warned = True
            LOG.warning("the catalogue does not answer, and is waited for, up to %.0f s: %s", policy.budget, error)
