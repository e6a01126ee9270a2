"""How long and how often an HTTP source waits. Numbers only, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

from glance_stream.retry import backoff

# A host that is up answers a SYN, a retransmitted SYN and a TLS handshake well within this.
CONNECT_SECONDS = 10.0

# Silence longer than this is a dead peer or a lost route. Servers that fetch from cold storage first stay below it.
IDLE_SECONDS = 60.0

# 1 TiB (Glance's image_size_cap) over a 100 Mbit/s line takes a day; the rest is for breaks. Without a total limit a server
# that sends one byte a minute would hold the import's lock for ever.
TOTAL_SECONDS = 30 * 3600.0

# Tries in a row without one new byte. With the waits below they ride out a restart of the server or of a load balancer.
TRIES = 6

# What browsers and curl tolerate is 20 to 50; download services use one or two, and each is a place to go wrong.
REDIRECTS = 5

# Full jitter: anything from nothing to the step, so that many importers do not come back in the same moment.
BACKOFF_SECONDS = 0.5
BACKOFF_MOST_SECONDS = 30.0

# A server's Retry-After is honoured up to here: beyond it, trying early and failing is better than an idle import.
RETRY_AFTER_MOST_SECONDS = 120.0

# A server that answers a resume with the whole, unchanged object makes us read the first part again. Without a bound, a line
# that breaks every hour would never finish an image that takes longer than an hour.
DISCARDS = 1

# A peer that was told `Connection: close` ends the stream right behind the body; more bytes there mean a wrong Content-Length.
# One that keeps the line open is not at fault enough to fail, so this is all the time it gets.
END_SECONDS = 1.0


@dataclass(frozen=True)
class HttpLimits:
    connect_seconds: float = CONNECT_SECONDS
    idle_seconds: float = IDLE_SECONDS
    total_seconds: float = TOTAL_SECONDS
    tries: int = TRIES
    redirects: int = REDIRECTS
    backoff_seconds: float = BACKOFF_SECONDS
    backoff_most_seconds: float = BACKOFF_MOST_SECONDS
    retry_after_most_seconds: float = RETRY_AFTER_MOST_SECONDS
    discards: int = DISCARDS
    end_seconds: float = END_SECONDS

    def delay(self, tries: int, retry_after: float | None) -> float:
        """Seconds to wait before the next try, after ``tries`` in a row went wrong."""
        if retry_after is not None:
            retry_after = min(retry_after, self.retry_after_most_seconds)
        return backoff(tries, self.backoff_seconds, self.backoff_most_seconds, retry_after)
