"""Something that happens while an image is on its way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from system_home import Home

SECONDS = 60.0


class Meanwhile:
    """The image as a FIFO: when store two has got all of its first part, ``act`` is called, and the rest follows."""

    def __init__(self, home: Home, act: Callable[[], object]) -> None:
        self._home = home
        self._act = act
        self._thread = threading.Thread(target=self._feed)
        self.acted = False

    def __enter__(self) -> Meanwhile:
        image = self._home.directory / "image.raw"
        self._bytes = image.read_bytes()
        image.unlink()
        os.mkfifo(image)
        self._thread.start()
        return self

    def _feed(self) -> None:
        with open(self._home.directory / "image.raw", "wb", buffering=0) as fifo:
            fifo.write(self._bytes[: 128 << 10])
            end = time.monotonic() + SECONDS
            while time.monotonic() < end and self._arrived() < 64 << 10:
                time.sleep(0.01)
            self._act()
            self.acted = True
            fifo.write(self._bytes[128 << 10 :])

    def _arrived(self) -> int:
        return max((path.stat().st_size for path in (self._home.directory / "two").glob(".*.part")), default=0)

    def __exit__(self, *_: object) -> None:
        self._thread.join(SECONDS)
        assert self.acted
