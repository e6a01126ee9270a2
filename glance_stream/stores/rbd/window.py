"""How much may be sent to the cluster before it has answered."""

from __future__ import annotations

import threading


class Window:
    """Counts the operations in flight and keeps the first error of any. Threads of ours wait here, librbd's tell."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._in_flight = 0
        self._error = 0
        self._stopped = False

    @property
    def error(self) -> int:
        """The errno of the first operation that failed, 0 if none has."""
        return self._error

    def take(self) -> bool:
        """Wait until one more may be sent. False, and nothing is to be sent, once one has failed or the window is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < self._limit or self._error or self._stopped)
            if self._error or self._stopped:
                return False
            self._in_flight += 1
            return True

    def done(self, result: int) -> None:
        """One has been answered; ``result`` is a negative errno if it failed."""
        with self._changed:
            self._in_flight -= 1
            if result < 0 and not self._error:
                self._error = -result
            self._changed.notify_all()

    def wait_empty(self) -> bool:
        """Wait until all are answered; whether they went well."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight)
            return not self._error

    def stop(self) -> None:
        """Nothing more is sent."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
