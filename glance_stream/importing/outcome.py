"""What an operation on an image gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glance_stream.errors import GlanceStreamError, Leftover
from glance_stream.model import Image


@dataclass(frozen=True)
class Outcome:
    """The image as it is now. ``failures``: stores that best effort went on without. ``notes``: what the user should know."""

    image: Image
    failures: Mapping[str, GlanceStreamError] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
    notes: tuple[str, ...] = ()
