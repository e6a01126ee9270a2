"""What an operation of a dead process has left in the stores, for the next one of its kind to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from glance_stream.errors import Leftover
from glance_stream.model import Beginning


@dataclass
class Left:
    """``traces``: store id -> trace of what is gone on with. failed / leftovers: the outcome of the rest, to be recorded.

    ``beginning``: what the dead one had read of its source.
    ``claimed``: another operation has begun with it, and answers for it from then on.
    """

    traces: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    leftovers: Sequence[Leftover] = ()
    beginning: Beginning | None = None
    claimed: bool = False
