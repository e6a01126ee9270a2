"""The lane of the inspectors: it sees the image's bytes, decoded, and leaves the ring when it has seen enough."""

from __future__ import annotations

from glance_stream.chunker import Ring
from glance_stream.inspection import Finding, Inspection, Inspector


class InspectionLane:
    """``run`` blocks, on a thread of its own. A ring's slots are held only while they are looked at."""

    def __init__(self, ring: Ring, inspection: Inspection) -> None:
        self._ring = ring
        self._lane = ring.lane()
        self._inspector = Inspector(inspection)

    def run(self) -> None:
        """Until nothing more can change the verdict, or the stream ends. Raises FormatRejected, LaneStopped."""
        try:
            for slot in self._lane:
                with slot.view as view:
                    self._inspector.feed(view)
                if self._inspector.decided:
                    self._inspector.judge(self._lane.position)
                    return
        finally:
            self._lane.detach()

    def finding(self) -> Finding:
        """The verdict on the whole stream, after `run` has returned. Raises FormatRejected."""
        return self._inspector.judge(self._ring.produced)
