"""What a server's answer claims about the object and about its own body, read strictly.

Everything that decides whether two pieces belong to one object is here, without I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_STRONG_ETAG = re.compile(r'"[^"\s]*"')
_SIZE = re.compile(r"[0-9]{1,18}")  # int() alone would take signs, underscores, and digits without end
_RANGE = re.compile(rf"bytes ({_SIZE.pattern})-({_SIZE.pattern})/({_SIZE.pattern}|\*)")
_UNSATISFIED = re.compile(rf"bytes \*/({_SIZE.pattern})")


@dataclass(frozen=True)
class Range:
    """Of a 206: bytes ``first`` to ``last`` inclusive, of ``total`` (None: the server does not know)."""

    first: int
    last: int
    total: int | None


@dataclass(frozen=True)
class Answer:
    """A status and the headers that matter. Names in ``headers`` are lower case; repeated ones are joined by commas."""

    status: int
    headers: Mapping[str, str]

    @property
    def chunked(self) -> bool:
        return self._lower("transfer-encoding") == "chunked"

    @property
    def length(self) -> int | None:
        """Of this body, from Content-Length. None if absent or overruled by chunked encoding (RFC 9112, 6.3)."""
        if self.chunked:
            return None
        values = {value.strip() for value in self.headers.get("content-length", "").split(",")}
        value = values.pop()
        return int(value) if not values and _SIZE.fullmatch(value) else None

    @property
    def range(self) -> Range | None:
        match = _RANGE.fullmatch(self.headers.get("content-range", "").strip())
        if not match:
            return None
        first, last, total = match.groups()
        return Range(int(first), int(last), None if total == "*" else int(total))

    @property
    def unsatisfied_total(self) -> int | None:
        """Of a 416: the size of the object as it is now."""
        match = _UNSATISFIED.fullmatch(self.headers.get("content-range", "").strip())
        return int(match.group(1)) if match else None

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "").strip()

    @property
    def modified(self) -> str:
        return self.headers.get("last-modified", "").strip()

    @property
    def validator(self) -> str | None:
        """What proves that two answers are of the same bytes: a strong ETag, else a strong Last-Modified.

        A weak ETag only promises that the content means the same, so pieces must not be joined on it.
        """
        if _STRONG_ETAG.fullmatch(self.etag):
            return self.etag
        return self.modified if self._modified_is_strong() else None

    def same_object(self, other: Answer) -> bool:
        """Whether the pieces of both may be joined: a validator, equal, and nothing that speaks against it."""
        return self.validator is not None and self.validator == other.validator and self._no_contradiction(other)

    def _no_contradiction(self, other: Answer) -> bool:
        pairs = ((self.etag, other.etag), (self.modified, other.modified))
        return all(not mine or not theirs or mine == theirs for mine, theirs in pairs)

    def _modified_is_strong(self) -> bool:
        """RFC 9110, 8.8.2.2: a second may hold two versions, unless the answer was made after that second was over."""
        modified, now = _date(self.modified), _date(self.headers.get("date", ""))
        return modified is not None and now is not None and now - modified >= timedelta(seconds=1)

    @property
    def retry_after(self) -> float | None:
        """Seconds; the header holds a number or a date."""
        value = self.headers.get("retry-after", "").strip()
        if _SIZE.fullmatch(value):
            return float(value)
        date = _date(value)
        return None if date is None else max(0.0, (date - datetime.now(UTC)).total_seconds())

    def body_fault(self) -> str | None:
        """Why this body can't be read as the object's own bytes with a certain end; None if it can."""
        coding = self._lower("content-encoding")
        if coding not in ("", "identity"):
            return f"the server sent Content-Encoding {coding[:40]!r} though identity was asked"
        transfer = self._lower("transfer-encoding")
        if transfer not in ("", "chunked"):
            return f"the server sent Transfer-Encoding {transfer[:40]!r} though it was not asked"
        if self.length is None and not self.chunked:
            given = (
                "a malformed Content-Length" if "content-length" in self.headers else "no Content-Length and no chunked encoding"
            )
            return f"the server sent {given}: the end of the image could not be told from a broken connection"
        return None

    def _lower(self, name: str) -> str:
        return self.headers.get(name, "").strip().lower()


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
