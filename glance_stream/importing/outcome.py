"""What an operation on an image gives back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from glance_stream.errors import GlanceStreamError, Leftover
from glance_stream.importing.site import Site
from glance_stream.model import Image

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The image as it is now. ``failures``: stores that best effort went on without. ``notes``: what the user should know."""

    image: Image
    failures: Mapping[str, GlanceStreamError] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
    notes: tuple[str, ...] = ()


async def read_back(site: Site, recorded: Image) -> Image:
    """The image as its record has it now. ``recorded`` where that can't be read any more: what is done has not failed for that."""
    try:
        return await site.image(recorded.image_id)
    except GlanceStreamError as error:
        LOG.warning("image %s: all is done and recorded, but its record can't be read back: %s", recorded.image_id, error)
        return recorded
