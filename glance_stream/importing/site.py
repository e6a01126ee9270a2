"""A site: its catalogue, its stores and its rules. What every operation works on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from glance_stream import threads
from glance_stream.catalogue import Catalogue
from glance_stream.config import Config, ImageFormatConfig, ImportFilters, mask_password
from glance_stream.decode.base import DecodeLimits
from glance_stream.errors import CatalogueError, InvalidRequest
from glance_stream.inspection import Inspection
from glance_stream.model import CONTAINER_FORMATS, DEFAULT_HASH_ALGO, DISK_FORMATS, Image, Location
from glance_stream.stores import Stores
from glance_stream.stores.base import Store
from glance_stream.transfer import Limits

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """``hash_algo`` is Glance's `hashing_algorithm`; ``default_store`` its `default_backend`; the rest as in the configuration.

    weights: of the stores that have one other than 0.
    """

    catalogue: Catalogue
    stores: Stores
    default_store: str
    hash_algo: str = DEFAULT_HASH_ALGO
    limits: Limits = field(default_factory=Limits)
    decompress: str = "auto"
    disk_formats: Sequence[str] = DISK_FORMATS
    container_formats: Sequence[str] = CONTAINER_FORMATS
    import_filters: ImportFilters | None = None
    source_addresses: str = "private"
    image_format: ImageFormatConfig = field(default_factory=ImageFormatConfig)
    weights: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, config: Config) -> Site:
        """The site of a configuration: the catalogue is opened, stores are when they are used. Blocking.

        Raises InvalidRequest, CatalogueError.
        """
        return cls(
            catalogue=Catalogue(config.catalogue.url, lease=config.catalogue.lease),
            stores=Stores(config.stores, transfer=config.transfer),
            default_store=config.default_store,
            hash_algo=config.hashing_algorithm,
            limits=limits_of(config),
            decompress=config.decompress,
            disk_formats=config.disk_formats,
            container_formats=config.container_formats,
            import_filters=config.import_filters,
            source_addresses=config.source_addresses,
            image_format=config.image_format,
            weights={store_id: store.weight for store_id, store in config.stores.items() if store.weight},
        )

    def inspection(self, disk_format: str | None) -> Inspection:
        """What the site demands of the content of an image that is said to be of this format."""
        rules = self.image_format
        return Inspection(
            disk_format,
            require_match=rules.require_image_format_match,
            vmdk_allowed_types=rules.vmdk_allowed_types,
            gpt_nonfatal=rules.gpt_safety_checks_nonfatal,
            disk_formats=self.disk_formats,
        )

    def store(self, store_id: str) -> Store:
        """Raises InvalidRequest for a store that the site does not have."""
        try:
            return self.stores[store_id]
        except KeyError:
            raise InvalidRequest(f"there is no store {store_id!r}; there are: {', '.join(self.stores)}") from None

    async def image(self, image_id: str) -> Image:
        """The record, every location with its store's id. Raises ImageNotFound."""
        image = await threads.call(self.catalogue.get_image, image_id)
        if all(self._is_known(location) for location in image.locations):
            return image
        locations = [await self._resolved(image_id, location) for location in image.locations]
        return replace(image, locations=tuple(locations))

    async def _resolved(self, image_id: str, location: Location) -> Location:
        """A location from before there were many stores, or of a store renamed since, gets its store's id for good.

        As Glance (bug 1886374), but on whole path components and only if one store alone has it.
        """
        if self._is_known(location):
            return location
        owners = self.stores.owners(location.url)
        if len(owners) != 1:
            if not location.store_id:
                LOG.warning(
                    "image %s: %s is in %s of this site's stores", image_id, mask_password(location.url), len(owners) or "none"
                )
            return location
        try:
            await threads.call(self.catalogue.resolve_location, image_id, location.url, owners[0], location.store_id)
        except CatalogueError as error:  # who may only read still reads
            LOG.warning(
                "image %s: that %s is in store %r can't be saved: %s", image_id, mask_password(location.url), owners[0], error
            )
        return replace(location, store_id=owners[0])

    def _is_known(self, location: Location) -> bool:
        return bool(location.store_id) and location.store_id in self.stores

    async def close(self) -> None:
        """Close stores and catalogue."""
        await self.stores.close()
        self.catalogue.close()


def limits_of(config: Config) -> Limits:
    """What the configuration allows one transfer."""
    pace = config.transfer
    return Limits(
        slots=pace.slots,
        slot_size=pace.slot_size,
        store_timeout=pace.store_timeout,
        source_timeout=pace.source_timeout,
        decode=DecodeLimits(max_size=config.image_size_cap),
    )
