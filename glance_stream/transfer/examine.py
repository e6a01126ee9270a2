"""Reading a source to its end and saying what it holds, without writing anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glance_stream import threads
from glance_stream.chunker import DigestLane, Ring
from glance_stream.model import Fingerprints
from glance_stream.sources.base import Source
from glance_stream.transfer.intake import Intake, open_source
from glance_stream.transfer.pouring import Pouring
from glance_stream.transfer.request import Limits, Observer, Progress
from glance_stream.transfer.targets import Targets


@dataclass(frozen=True)
class Examined:
    """What the bytes are known by."""

    size: int
    digests: dict[str, str]
    fingerprints: Fingerprints


async def examine(
    source: Source, algorithms: Iterable[str], slot_size: int, limits: Limits, observer: Observer | None = None
) -> Examined:
    """Size, digests and one fingerprint for each ``slot_size`` bytes of a source. Raises what the source raises, DigestRefused.

    The source is an object in a store: it has the store's time limit to open. SourceError when it does not.
    """
    ring = Ring(limits.slots, slot_size)
    digests = {name: DigestLane(ring, name) for name in dict.fromkeys(algorithms)}
    info, _ = await open_source(source, 0, limits.store_timeout)
    intake = Intake(source, info, b"", ring)
    readers = [lane.run for lane in digests.values()]
    pouring = Pouring(intake, ring, readers, Targets([], best_effort=False), limits)

    def tell() -> None:
        if observer is not None:
            observer(Progress("verifying", intake.read, info.size, ring.produced, {}))

    try:
        await pouring.run(tell)
    except BaseException:
        await threads.to_its_end(pouring.stop())
        raise
    return Examined(
        size=ring.produced,
        digests={name: lane.hexdigest() for name, lane in digests.items()},
        fingerprints=Fingerprints(slot_size, ring.fingerprints()),
    )
