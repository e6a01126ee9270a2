"""An image behind an http or https URL, read once, and resumed at the exact byte when the connection breaks.

Pieces of two answers are joined only when the server proves that they belong to the same bytes: the same validator, the same
size, the right position. In every other case the transfer fails. A digest would find a bad splice at the end of the transfer;
this finds it before the first wrong byte.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.http_address import Address, parse
from glance_stream.sources.http_answer import Answer
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_peers import Peers, peers
from glance_stream.sources.http_request import ask, check_status, request_headers, told
from glance_stream.sources.http_wire import Broken, Wire, final

__all__ = ["HttpLimits", "HttpSource"]

_DISCARD_SIZE = 1 << 20


class HttpSource(Source):
    """``ca``: a file of certificates to trust instead of the system's. ``allow`` is asked about the URL and each redirect.

    ``allowed`` is asked about each address that is connected to. Unless said: not those local to the link (`http_peers`).
    """

    def __init__(
        self,
        url: str | Address,
        *,
        limits: HttpLimits | None = None,
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        allow: Callable[[str], bool] | None = None,
        allowed: Peers | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """Connects to nothing. Raises InvalidRequest. ``pause`` waits between tries; the default ends early on interrupt()."""
        self._address = self._at = parse(url) if isinstance(url, str) else url
        self.name = self._address.shown
        self._limits = limits or HttpLimits()
        self._told = told(self._address, request_headers(headers))
        self._allow = allow
        self._wire = Wire(self._limits, ca, allowed or peers("private"))
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait
        self._deadline = 0.0
        self._first: Answer | None = None
        self._size: int | None = None
        self._offset = 0
        self._tries = 0
        self._discards = 0
        self._ended = False

    def open(self) -> SourceInfo:
        self._deadline = time.monotonic() + self._limits.total_seconds
        self._persist(self._begin, None)
        assert self._first is not None
        return SourceInfo(self._size, self._first.validator)

    def reopen(self, offset: int) -> None:
        if self._first is None:
            raise SourceError(f"{self.name} is not open")
        self._wire.close()
        self._offset, self._ended = offset, offset == self._size
        self._tries = self._discards = 0
        if not self._ended:
            self._persist(self._resume, None)

    def readinto(self, view: memoryview) -> int:
        if self._first is None:
            raise SourceError(f"{self.name} is not open")
        while not self._ended:
            self._check_time()
            try:
                count = self._wire.readinto(view)
            except Broken as broken:
                self._persist(self._resume, broken)
                continue
            self._check_time()  # what a cut connection gives is not to be trusted
            if count:
                self._advance(count)
                return count
            self._end_piece()
        return 0

    def _advance(self, count: int) -> None:
        self._offset += count
        self._tries = 0
        if self._size is not None and self._offset > self._size:
            raise self._named(final(f"the server sent more than the {self._size} bytes it announced"))

    def _end_piece(self) -> None:
        if self._size is not None and self._offset < self._size:  # a server may answer with less than the range asked for
            self._persist(self._resume, Broken("the answer ended early"))
        elif self._size is not None and not self._wire.ends_here():
            raise self._named(final(f"the server sent more than the {self._size} bytes it announced"))
        else:
            self._ended = True

    def _persist(self, attempt: Callable[[], None], cause: Broken | None) -> None:
        """Try until it works, or there were too many tries without a new byte in between."""
        while True:
            if cause is not None:
                self._wait(cause)
            self._check_time()
            try:
                return attempt()
            except Broken as broken:
                cause = broken
            except SourceError as error:
                raise self._named(error) from error
            except InvalidRequest as error:
                if self._first is None:
                    raise
                raise self._named(final(str(error))) from error  # allowed at first, and not any more

    def _wait(self, cause: Broken) -> None:
        self._check_time()
        self._tries += 1
        if self._tries >= self._limits.tries:
            raise SourceError(f"{self.name}: {cause} at byte {self._offset}; gave up after {self._tries} tries") from cause
        delay = self._limits.delay(self._tries, cause.retry_after)
        self._pause(max(0.0, min(delay, self._deadline - time.monotonic())))

    def _begin(self) -> None:
        """From byte 0. A second beginning must announce what the first did, because the caller has acted on that."""
        answer, self._at = ask(self._wire, "GET", self._address, self._told, self._allow, self._limits.redirects)
        if answer.status != 200:
            check_status(answer)
        self._check_body(answer)
        if self._first is None:
            self._first, self._size = answer, answer.length
        elif (answer.length, answer.validator) != (self._size, self._first.validator):
            raise _changed()

    def _resume(self) -> None:
        if not self._offset:
            return self._begin()
        validator = self._first.validator if self._first else None
        if validator is None:
            raise SourceError(
                f"the connection broke at byte {self._offset}, and the server gave no strong ETag or Last-Modified, without "
                "which it is not safe to go on from there: start again"
            )
        piece = {"Range": f"bytes={self._offset}-", "If-Range": validator}
        answer, self._at = ask(
            self._wire, "GET", self._resume_at(), lambda at: {**self._told(at), **piece}, self._allow, self._limits.redirects
        )
        return self._accept(answer)

    def _resume_at(self) -> Address:
        """First where the last piece came from: a redirect that picks a mirror may pick one with other validators now.

        After that from the start again: a mirror may have gone away, a signed URL may have run out.
        """
        return self._at if self._tries <= 1 else self._address

    def _accept(self, answer: Answer) -> None:
        if answer.status == 206:
            self._join(answer)
        elif answer.status == 200:
            self._discard(answer)
        elif answer.status == 416:
            self._stop_at_end(answer)
        elif self._tries <= 1 and self._at != self._address:
            raise Broken(f"status {answer.status}")
        else:
            check_status(answer)

    def _join(self, answer: Answer) -> None:
        self._check_body(answer)
        piece = answer.range
        if piece is None or piece.first != self._offset or piece.last < piece.first:
            raise final(f"asked to go on at byte {self._offset}, the server sent another range")
        if answer.length not in (None, piece.last - piece.first + 1):
            raise final("the server's Content-Length and Content-Range differ")
        # Without a total the piece shows the size only by reaching the end that the first answer announced.
        total = self._size if piece.total is None and self._size == piece.last + 1 else piece.total
        if total is None or piece.last >= total:
            raise final("the server's Content-Range does not show the size of the image")
        self._check_same(answer, total)

    def _discard(self, answer: Answer) -> None:
        """The whole object instead of the rest of it: read up to where we were, if it is the same object."""
        self._check_body(answer)
        self._check_same(answer, answer.length)
        if self._discards >= self._limits.discards:
            raise SourceError(f"the connection broke again at byte {self._offset}, and the server can't resume")
        self._discards += 1
        left = self._offset
        scratch = memoryview(bytearray(min(left, _DISCARD_SIZE)))
        while left:
            self._check_time()
            count = self._wire.readinto(scratch[:left])
            if not count:
                raise _changed()
            left -= count

    def _stop_at_end(self, answer: Answer) -> None:
        """416 to a resume: a body of unknown size broke behind its last byte, or the object shrank."""
        self._check_same(answer, answer.unsatisfied_total)
        if self._size != self._offset:
            raise _changed()
        self._ended = True

    def _check_same(self, answer: Answer, size: int | None) -> None:
        assert self._first is not None
        if not self._first.same_object(answer) or (None not in (self._size, size) and self._size != size):
            raise _changed()
        self._size = size if self._size is None else self._size

    def _check_body(self, answer: Answer) -> None:
        fault = answer.body_fault()
        if fault:
            raise final(fault)

    def _check_time(self) -> None:
        if self._stopped.is_set():
            raise SourceError(f"reading {self.name} was interrupted")
        if time.monotonic() > self._deadline:
            raise SourceError(f"{self.name}: not complete after {self._limits.total_seconds:.0f} seconds")

    def _named(self, error: SourceError) -> SourceError:
        named = type(error)(f"{self.name}: {error}")
        named.retryable = error.retryable
        return named

    def interrupt(self) -> None:
        """At once while reading or waiting; while connecting, within the limit for that."""
        self._stopped.set()
        self._wire.cut()

    def close(self) -> None:
        self._stopped.set()
        self._wire.close()


def _changed() -> SourceError:
    return SourceError("the image changed on the server while it was read, or the server no longer shows that it did not")
