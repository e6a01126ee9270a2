"""The one pass: source to ring to lanes, then commit or roll back. Knows no catalogue, no configuration and no command line.

This is what another import pipeline embeds: it brings its own records through a :class:`Recorder`.
"""

from glance_stream.transfer.engine import transfer
from glance_stream.transfer.examine import Examined, examine
from glance_stream.transfer.request import (
    Expectation,
    Limits,
    Observer,
    Progress,
    Recorder,
    Transferred,
    TransferRequest,
    Verified,
)

__all__ = [
    "Examined",
    "Expectation",
    "Limits",
    "Observer",
    "Progress",
    "Recorder",
    "TransferRequest",
    "Transferred",
    "Verified",
    "examine",
    "transfer",
]
