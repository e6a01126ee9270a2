"""Where a victim may die: calls of stores, writers and the catalogue, statements, system calls and sends, wrapped from outside.

Installed once in the launcher and silent there; a forked victim arms it. Nothing of this is in the product.
"""

from __future__ import annotations

import functools
import http.client
import importlib
import inspect
import json
import mmap
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

SLOT = 32 << 10
SYSTEM_CALLS = ("open", "link", "unlink", "remove", "rename", "mkdir", "fsync", "fchmod", "pwrite")
STORE_CALLS = ("open", "discard", "delete", "published", "find", "stat")
WRITER_CALLS = ("open", "write", "drain", "flush", "commit", "abort", "published")


class Board:
    """Memory that a victim shares with its launcher: what it has done is read there after its death."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 2 * SLOT)

    def clear(self) -> None:
        self._map[: 2 * SLOT] = bytes(2 * SLOT)

    def write(self, number: int, found: dict[str, Any]) -> None:
        """The two halves take turns, so that a death in the midst of a write spoils neither what was there before."""
        text = json.dumps(found).encode()[: SLOT - 16]
        start = number % 2 * SLOT
        self._map[start : start + 8] = bytes(8)
        self._map[start + 16 : start + 16 + len(text)] = text
        self._map[start : start + 16] = struct.pack("QQ", number, len(text))

    def read(self) -> dict[str, Any]:
        """The newest whole entry; {} if there is none."""
        heads = [(*struct.unpack("QQ", self._map[start : start + 16]), start) for start in (0, SLOT)]
        number, length, start = max(heads)
        return json.loads(self._map[start + 16 : start + 16 + length]) if number else {}


class Steps:
    """Counts the steps of a victim and lets it die, or interrupts it, at the one that was chosen."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._armed = False
        self._counts: Counter[str] = Counter()
        self._total = 0
        self._phase = "starting"
        self._fired = 0
        self._harm: dict[str, Any] = {}
        self.shift = 0.0  # seconds that this process's clock is ahead

    def arm(self, harm: dict[str, Any]) -> None:
        """``label`` and ``nth``: at that occurrence; ``number``: the signal; ``again``: a second one so many steps later."""
        self._harm = harm
        self._armed = True

    def step(self, label: str) -> None:
        if not self._armed:
            return
        with self._lock:
            self._counts[label] += 1
            self._total += 1
            if label.startswith("catalogue "):
                self._phase = label
            due = self._is_due(label)
            self._fired += due
            self._board.write(self._total, {"label": label, "phase": self._phase, "fired": self._fired, "counts": self._counts})
        if due:
            os.kill(os.getpid(), self._harm["number"])

    def _is_due(self, label: str) -> bool:
        if self._fired == 0 and label == self._harm.get("label") and self._counts[label] == self._harm.get("nth"):
            self._due_again = self._total + self._harm.get("again", 0)
            return True
        return self._fired == 1 and self._harm.get("again", 0) > 0 and self._total >= self._due_again

    # -- wrapping -----------------------------------------------------------------------------------------------------------

    def wrap(self, owner: Any, name: str, label: str, *, after: bool = True) -> None:
        call = getattr(owner, name)
        if inspect.iscoroutinefunction(call):
            wrapped: Callable[..., Any] = self._around_coroutine(call, label, after)
        else:
            wrapped = self._around(call, label, after)
        setattr(owner, name, wrapped)

    def _around(self, call: Callable[..., Any], label: str, after: bool) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.step(label)
            result = call(*arguments, **keywords)
            if after:
                self.step(f"{label} done")
            return result

        return wrapped

    def _around_coroutine(self, call: Callable[..., Any], label: str, after: bool) -> Callable[..., Any]:
        @functools.wraps(call)
        async def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.step(label)
            result = await call(*arguments, **keywords)
            if after:
                self.step(f"{label} done")
            return result

        return wrapped

    def install(self) -> None:
        self._wrap_catalogue()
        self._wrap_stores()
        for name in SYSTEM_CALLS:
            self.wrap(os, name, f"system {name}")
        self.wrap(socket.socket, "sendall", "network sendall")
        self.wrap(http.client.HTTPConnection, "getresponse", "network answer")
        self._shift_clocks()

    def _wrap_catalogue(self) -> None:
        from sqlalchemy import Engine, event

        from glance_stream.catalogue import Catalogue

        for name, _ in inspect.getmembers(Catalogue, inspect.isfunction):
            if not name.startswith("_") and name != "close":
                self.wrap(Catalogue, name, f"catalogue {name}")

        def before_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.step(f"statement {statement.split(maxsplit=1)[0].lower()}")

        event.listen(Engine, "before_cursor_execute", before_statement)
        event.listen(Engine, "commit", lambda _: self.step("statement commit"))

    def _wrap_stores(self) -> None:
        for kind in ("file", "s3", "swift", "rbd"):
            try:
                package = f"glance_stream.stores.{kind}"
                store, writer = (importlib.import_module(f"{package}.{name}") for name in ("store", "writer"))
            except ImportError:  # of the cluster's bindings
                continue
            for role, module, names in (("Store", store, STORE_CALLS), ("Writer", writer, WRITER_CALLS)):
                owner = next(found for name, found in vars(module).items() if name.lower() == f"{kind}{role}".lower())
                for name in names:
                    self.wrap(owner, name, f"{kind} {role.lower()} {name}")

    def _shift_clocks(self) -> None:
        """So that a victim can live hours later: what may come of a request without an answer is settled only then."""
        from glance_stream.stores.s3.client import Bucket

        ours, theirs = time.time, Bucket.now

        time.time = lambda: ours() + self.shift
        Bucket.now = lambda bucket: theirs(bucket) + self.shift  # type: ignore[method-assign]
