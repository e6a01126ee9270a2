"""What the catalogue records in stores whose directories are missing, for commands that are about the stores alone."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glance_stream.config import Config
    from glance_stream.stores.base import Store

LOG = logging.getLogger(__name__)


async def tell_recorded(config: Config, store: Store) -> None:
    """A store that should have images is not opened without its directory, and does not make it.

    No catalogue is made for that, and one that is broken is not the store's fault: a warning tells of it.
    """
    from glance_stream import threads
    from glance_stream.catalogue import Catalogue
    from glance_stream.errors import GlanceStreamError
    from glance_stream.importing.choosing import expect_recorded, is_missing

    if not await is_missing(store) or _is_new(config.catalogue.url):
        return
    try:
        with await threads.call(Catalogue, config.catalogue.url) as catalogue:
            await expect_recorded(catalogue, store, list(config.stores))
    except GlanceStreamError as error:
        LOG.warning("store %r: whether images are recorded in it can't be told: %s", store.store_id, error)


def _is_new(url: str) -> bool:
    """Whether opening the catalogue would make its file."""
    scheme, slashes, path = url.partition(":///")
    return scheme.startswith("sqlite") and bool(slashes) and not os.path.exists(path.partition("?")[0])
