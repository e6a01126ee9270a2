from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from bad_server import Act, BadServer

from glance_stream.sources.http import HttpLimits, HttpSource

# Real waits would make every test of a failure last; a stalled server of these tests stalls for 0.5 s.
LIMITS = HttpLimits(connect_seconds=2, idle_seconds=0.2, total_seconds=10, tries=3, end_seconds=0.2)


class Server(Protocol):
    def __call__(self, *acts: Act, tls: Any = None) -> BadServer: ...


@pytest.fixture
def server() -> Iterator[Server]:
    """Start a server that plays these acts."""
    with ExitStack() as stack:
        yield lambda *acts, tls=None: stack.enter_context(BadServer(*acts, tls=tls))


@pytest.fixture
def pauses() -> list[float]:
    """What the sources of this test would have waited."""
    return []


@pytest.fixture
def source(pauses: list[float]) -> Iterator[Any]:
    """Make an HttpSource that does not sleep between tries; closed after the test."""
    with ExitStack() as stack:

        def make(url: str, **keywords: Any) -> HttpSource:
            made = HttpSource(url, **{"limits": LIMITS, "pause": pauses.append, **keywords})
            stack.callback(made.close)
            return made

        yield make
