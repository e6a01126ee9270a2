"""The bytes of one image, collected into parts that are sent side by side while the next is filled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager

from glance_stream import threads
from glance_stream.errors import StoreError
from glance_stream.stores.s3.client import SentPart
from glance_stream.stores.s3.parts import Buffers, Part, PartSizes

Begin = Callable[[], object]
Send = Callable[[int, memoryview], SentPart]


class Collector:
    """Each byte is copied once, from the ring's slot into a part. A part is sent when a byte comes that it has no room for.

    So nothing is sent of an image that is not larger than its first part: `whole` gives it.
    """

    def __init__(self, store_id: str, sizes: PartSizes, limit: int, begin: Begin, send: Send) -> None:
        """``limit``: bytes of all buffers together. ``begin`` is called before each part is shipped, on the thread of `write`.

        ``send`` runs on threads of ours, several at once. Both raise StoreError.
        """
        self._store_id = store_id
        self._sizes = sizes
        self._buffers = Buffers(store_id, limit)
        self._begin = begin
        self._send = send
        self._part: Part | None = None
        self._number = 0
        self._lock = threading.Lock()
        self._sending: list[Future[None]] = []
        self._sent: list[SentPart] = []
        self.size = 0

    def write(self, view: memoryview) -> None:
        """Raises the error of the part that failed first, or what `stop` was given."""
        with view.cast("B") as left:
            done = 0
            while done < len(left):
                done += self._room().take(left[done:])
            self.size += done

    def _room(self) -> Part:
        if self._part is not None and self._part.full:
            self._ship()
        if self._part is None:
            self._number += 1
            self._part = self._buffers.part(self._number, self._sizes[self._number])
        self._buffers.check()
        return self._part

    def _ship(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            self._begin()
            with self._lock:
                self._buffers.check()  # under the lock: whatever is under way is known to `stop`
                self._sending = [each for each in self._sending if not each.done()]
                self._sending.append(threads.THREADS.submit(self._send_part, part))

    def _send_part(self, part: Part) -> None:
        try:
            with part.content() as body:
                sent = self._send(part.number, body)
            with self._lock:
                self._sent.append(sent)
        except StoreError as error:
            self._buffers.stop(error)
        except Exception as error:
            self._buffers.stop(StoreError(self._store_id, f"part {part.number}: {type(error).__name__}"))
        finally:
            self._buffers.give_back(part)

    @property
    def shipped(self) -> bool:
        """Whether any part was sent, or is on its way."""
        return self._number > 1 or bool(self._number and self._part is None)

    @contextmanager
    def whole(self) -> Iterator[memoryview]:
        """The bytes of an image of which nothing was shipped."""
        self._buffers.check()
        if self._part is None:
            yield memoryview(b"")
        else:
            with self._part.content() as body:
                yield body

    def finish(self) -> list[SentPart]:
        """Ship what is left and wait until every part is answered. All of them in order; raises StoreError."""
        self._ship()
        wait(self._sending)
        self._buffers.check()
        return sorted(self._sent, key=lambda part: part.number)

    def stop(self, reason: StoreError) -> None:
        """From any thread: nothing more is taken or shipped. Does not wait."""
        self._buffers.stop(reason)

    def wait(self) -> None:
        """Once stopped: until nothing is under way. Lets go of all memory."""
        with self._lock:
            sending = self._sending
        wait(sending)
        self._part = None
