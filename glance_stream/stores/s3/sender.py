"""PUTs of whole objects and of parts, each repeated until it is answered, refused for good, or out of patience."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from glance_stream.errors import InvalidRequest, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.sources.http_address import parse
from glance_stream.sources.http_limits import HttpLimits
from glance_stream.sources.http_wire import Broken
from glance_stream.stores.s3.client import WRITER, Bucket, SentPart
from glance_stream.stores.s3.crc32 import crc32
from glance_stream.stores.s3.errors import code_in, refusal
from glance_stream.stores.s3.wire import Lines, Reply, Unanswered

# Of one PUT with all its repetitions. Below the default of `store_timeout`, so that it is this store which says what is wrong.
PATIENCE_SECONDS = 240.0

# What a server, or a gateway before it, says that does not know what has become of the request.
_OPEN_STATUS = {500, 502, 504}


def _crc32(body: memoryview) -> bytes:
    return crc32(body).to_bytes(4, "big")


def _md5(body: memoryview) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


CRC32 = "x-amz-checksum-crc32"

# option `checksum` -> the header and the function
CHECKSUMS: dict[str, tuple[str, Callable[[memoryview], bytes]]] = {"crc32": (CRC32, _crc32), "md5": ("Content-MD5", _md5)}


def _sum(checksum: str, body: memoryview) -> dict[str, str]:
    if checksum not in CHECKSUMS:
        return {}
    header, function = CHECKSUMS[checksum]
    return {header: base64.b64encode(function(body)).decode()}


class Sender:
    """The PUTs of one writer, any number of them at once. Making it may block: credentials are looked up.

    ``unanswered``: how many may have taken effect, or may yet, without having said so.
    """

    def __init__(self, store_id: str, bucket: Bucket, key: str, checksum: str, limits: HttpLimits, ca: str | None) -> None:
        self._store_id = store_id
        self._bucket = bucket
        self._key = key
        self._url = bucket.url(key)
        self._checksum = checksum
        self._plain = self._url.startswith("http://")
        self._limits = limits
        self._stopped = threading.Event()
        self.unanswered = 0
        try:
            self._lines = Lines(parse(self._url), limits, ca)
        except InvalidRequest as error:
            raise StoreError(store_id, str(error)) from error

    @property
    def algorithm(self) -> str | None:
        """S3's name of the checksum that each part has, if it has one that the completion must repeat."""
        return "CRC32" if self._of_a_part() == "crc32" else None

    def _of_a_part(self) -> str:
        """TLS finds what is changed on the way; without it somebody else has to."""
        if self._checksum != "auto":
            return self._checksum
        return "md5" if self._plain and self._bucket.confirms_crc32 is False else "crc32"

    def put_object(self, writer: str, body: memoryview) -> str:
        """Its ETag, as far as the server tells. Raises Duplicate where the server can tell, StoreError."""
        more = {f"x-amz-meta-{WRITER}": writer, "If-None-Match": "*"}
        # By an MD5 that each server compares: when the answer tells that it has not looked at a CRC32, the object is visible.
        checksum = self._checksum if self._checksum != "auto" else "md5" if self._plain else "crc32"
        return self._put(f"writing {self._key}", self._url, {**_sum(checksum, body), **more}, body).answer.etag

    def put_part(self, upload_id: str, number: int, body: memoryview) -> SentPart:
        what = f"writing part {number} of {self._key}"
        url = f"{self._url}?partNumber={number}&uploadId={quote(upload_id, safe='')}"
        headers = _sum(self._of_a_part(), body)
        answer = self._put(what, url, headers, body).answer
        if CRC32 in headers:
            self._bucket.confirms_crc32 = answer.headers.get(CRC32) == headers[CRC32]
            if self._of_a_part() == "md5":  # it was not compared
                headers = _sum("md5", body)
                answer = self._put(what, url, headers, body).answer
        if not answer.etag:
            raise StoreError(self._store_id, f"{what}: the server's answer has no ETag")
        return SentPart(number, answer.etag, headers.get(CRC32))

    def _put(self, what: str, url: str, headers: Mapping[str, str], body: memoryview) -> Reply:
        target = parse(url).target
        deadline = time.monotonic() + PATIENCE_SECONDS
        tries = 0
        while not self._stopped.is_set():
            tries += 1
            try:
                with self._lines.line() as line:
                    reply = line.put(target, self._bucket.signed("PUT", url, headers), body)
            except Broken as broken:
                self.unanswered += isinstance(broken, Unanswered)
                kind = StoreTimeout if broken.timed_out else StoreUnavailable
                error: StoreError = kind(self._store_id, f"{what}: {broken}")
            else:
                if reply.answer.status == 200:
                    return reply
                self.unanswered += reply.answer.status in _OPEN_STATUS
                error = refusal(self._store_id, what, reply.answer.status, code_in(reply.body), reply.answer.retry_after)
            delay = self._limits.delay(tries, error.retry_after)
            if not error.retryable or tries >= self._limits.tries or time.monotonic() + delay > deadline:
                raise error
            self._stopped.wait(delay)
        raise StoreError(self._store_id, "the writer has ended")

    def stop(self) -> None:
        """From any thread: what is under way fails at once, and whatever comes later."""
        self._stopped.set()
        self._lines.cut()

    def close(self) -> None:
        """Once nothing is under way."""
        self._lines.close()
