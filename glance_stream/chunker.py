"""Chooses the compiled core or its Python twin, once, and says which.

The twin is chosen only by ``GLANCE_STREAM_PURE=1``: a silent fallback would turn a benchmark or a test into a measurement of
something else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or os.environ.get("GLANCE_STREAM_PURE") != "1":
    try:
        from glance_stream import _chunker as core
    except ImportError as error:
        raise ImportError(
            f"the compiled core of glance_stream can't be loaded ({error}): build it with 'pip install -e .', "
            "or set GLANCE_STREAM_PURE=1 to run on the slow Python twin"
        ) from error
else:
    from glance_stream import _chunker_py as core

COMPILED = core.COMPILED
DEFAULT_SLOTS = core.DEFAULT_SLOTS
DEFAULT_SLOT_SIZE = core.DEFAULT_SLOT_SIZE
PAGE_SIZE = core.PAGE_SIZE
DigestLane = core.DigestLane
DigestRefused = core.DigestRefused
Lane = core.Lane
LaneStopped = core.LaneStopped
Ring = core.Ring
Slot = core.Slot
WriteLane = core.WriteLane


def require_digest(algorithm: str) -> None:
    """Raises DigestRefused unless a lane could compute this digest here."""
    DigestLane(Ring(2, PAGE_SIZE), algorithm)


__all__ = [
    "COMPILED",
    "DEFAULT_SLOTS",
    "DEFAULT_SLOT_SIZE",
    "PAGE_SIZE",
    "DigestLane",
    "DigestRefused",
    "Lane",
    "LaneStopped",
    "Ring",
    "Slot",
    "WriteLane",
    "require_digest",
]
