"""One backend of glance_store: what is asked of its driver, by location. All of it blocks and raises StoreError.

``url`` is a location as the driver itself writes it, with the credentials that it may need; a `Location` has none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from glance_stream.errors import NotFound, StoreError, StoreTimeout
from glance_stream.model import Location
from glance_stream.stores.glance_store.driver import READ_OFFSET, Driver, Drivers
from glance_stream.stores.glance_store.errors import mapped
from glance_stream.stores.glance_store.places import (
    Partial,
    place_of,
    url_within,
    with_credentials,
    without_credentials,
)

CONFIGURING = 10.0  # seconds to wait in all, where nothing may block for long, for a driver that connects to learn its place


class Backend:
    """A driver, its configuration, and where it puts images."""

    def __init__(self, store_id: str, name: str, values: Mapping[str, Any], *, read_only: bool) -> None:
        """Imports the driver and connects to nothing. Raises InvalidRequest."""
        self.store_id = store_id
        self.name = name
        self.drivers = Drivers(store_id, name, values, read_only=read_only)
        self.place = place_of(self.drivers.made_by)
        self.mask = self.drivers.mask
        self._patience = CONFIGURING

    @property
    def sees_complete_only(self) -> bool:
        """Whether nothing is under an image's name before it is complete."""
        return self.place.partial is Partial.NEVER

    @property
    def holds_unknown_sizes(self) -> bool:
        """The s3 driver collects a whole image of unknown size in memory, unless all are to be uploaded in parts."""
        return bool(self.drivers.option("s3_store_large_object_size"))

    @property
    def where(self) -> str:
        driver = self.drivers.configured
        prefix = without_credentials(driver.url_prefix or "") if driver is not None else ""
        return f"{prefix or 'a backend'} of glance_store's driver {self.name}"

    # -- locations --------------------------------------------------------------------------------------------------------

    def urls(self, driver: Driver, image_id: str) -> list[str]:
        """Every location that the image may have; none where that can't be foretold."""
        with mapped(self.store_id, self.mask):
            return self.place.urls(driver, image_id)

    def within(self, url: str) -> str | None:
        """The driver's own form of a location's URL if it points into this backend.

        The first calls may have to connect, for `CONFIGURING` seconds in all. Raises StoreTimeout, at once when these are spent.
        """
        configured = self.drivers.configured or self._configured_soon()
        with mapped(self.store_id, self.mask):
            return url_within(configured, self.place, without_credentials(url))

    def _configured_soon(self) -> Driver:
        """The loop waits here: never again for a driver that has hung once, though one that comes late is used."""
        first, began = self.drivers.first(), time.monotonic()
        try:
            return first.result(self._patience)
        except TimeoutError as error:
            raise StoreTimeout(self.store_id, f"the driver is not configured within {CONFIGURING:g} s") from error
        finally:
            self._patience = max(0.0, self._patience - (time.monotonic() - began))

    def own(self, location: Location) -> str:
        """Raises StoreError for a location elsewhere."""
        url = self.within(location.url)
        if url is None:
            raise StoreError(self.store_id, f"{without_credentials(location.url)} is not in {self.where}")
        return url

    def shown(self, driver: Driver, url: str) -> str:
        """The URL without credentials. Raises StoreError if the driver could not find the object by that any more."""
        shown = without_credentials(url)
        if with_credentials(driver, shown) != url:
            raise StoreError(self.store_id, "the driver writes credentials into its locations that are not in its url_prefix")
        return shown

    def located(self, driver: Driver, url: str) -> Any:
        """As the driver wants it: glance_store's Location, made without its process-wide table of schemes."""
        from glance_store.location import Location as DriverLocation  # type: ignore[import-untyped]

        return DriverLocation(urlsplit(url).scheme, driver.get_store_location_class(), driver.conf, uri=url, backend=self.store_id)

    def metadata(self, given: Any) -> dict[str, Any]:
        """A location's metadata, but for the store's id that glance_store puts in. Raises StoreError for what Glance can't keep."""
        from glance_store.backend import check_location_metadata  # type: ignore[import-untyped]

        with mapped(self.store_id, self.mask):
            metadata = dict(given or {})
            check_location_metadata(metadata)
        metadata.pop("store", None)
        return metadata

    # -- objects ----------------------------------------------------------------------------------------------------------

    def size(self, url: str) -> int:
        """In bytes. Raises NotFound."""
        driver = self.drivers.get()
        with mapped(self.store_id, self.mask):
            size = driver.get_size(self.located(driver, url))
            if size:
                return size
            # The swift driver says 0 of what is not there, and of what it can't ask for.
            chunks, size = driver.get(self.located(driver, url))
            close(chunks)
            return size

    def read(self, url: str, offset: int) -> tuple[Any, int, int]:
        """The chunks, the object's size, and how many bytes before ``offset`` the chunks begin with."""
        driver = self.drivers.get()
        with mapped(self.store_id, self.mask):
            if offset and driver.is_capable(READ_OFFSET):
                chunks, size = driver.get(self.located(driver, url), offset=offset)
                return chunks, size, 0
            chunks, size = driver.get(self.located(driver, url))
            return chunks, size, offset

    def find(self, image_id: str) -> str | None:
        """Where the image's object is; None also of an rbd image without its snapshot."""
        for url in self.urls(self.drivers.get(), image_id):
            with suppress(NotFound):
                self.size(url)
                return url
        return None

    def delete(self, url: str) -> None:
        """Raises NotFound."""
        driver = self.drivers.get()
        with mapped(self.store_id, self.mask):
            driver.delete(self.located(driver, url))

    def remove(self, urls: list[str]) -> None:
        """Delete what is there of these."""
        for url in urls:
            with suppress(NotFound):
                self.delete(url)

    def remove_part(self, image_id: str, largest: int) -> None:
        """What is left of an ``add`` that failed and has read ``largest`` bytes, not all of the image.

        Raises StoreError for an object with more than that, which is another's or nobody knows whose.
        """
        if self.sees_complete_only:
            return  # what is there, if anything, is complete: not ours
        driver = self.drivers.get()
        for url in self.urls(driver, image_id):
            try:
                held = self.size(url)
            except NotFound:
                if self.place.partial is Partial.TOLD:
                    self.remove([url])
                continue
            if self.place.partial is Partial.ALIKE:
                if held > largest:
                    raise self.in_doubt(url)
                self.remove([url])

    def require_nothing(self, image_id: str) -> None:
        """After an ``add`` that failed when it had read all: it may have made an object all the same, and so may another Glance.

        Raises StoreError for what is there, complete for all that can be told, and where it can't be told what is there.
        """
        urls, found = self.urls(self.drivers.get(), image_id), self.find(image_id)
        if found is not None:
            raise self.in_doubt(found)
        if not urls:
            raise self._unforetold(image_id)
        if self.place.partial is Partial.TOLD:
            self.remove(urls)

    def in_doubt(self, url: str) -> StoreError:
        where = without_credentials(url)
        return StoreError(self.store_id, f"{where} is there, and {self.name} does not tell whose it is: check it by hand")

    def _unforetold(self, image_id: str) -> StoreError:
        return StoreError(self.store_id, f"can't tell what is left: look by hand for {self.place.look_for}{image_id}")

    def discard(self, image_id: str) -> None:
        """What a writer left that died, and nothing that may be complete. Raises StoreError where somebody has to look."""
        if self.sees_complete_only:
            return
        urls, found = self.urls(self.drivers.get(), image_id), self.find(image_id)
        if self.place.partial is Partial.TOLD:
            if found is None:
                self.remove(urls)
        elif found is not None:
            where = without_credentials(found)
            raise StoreError(self.store_id, f"{where} may be complete or not, {self.name} does not tell: check it by hand")
        elif not urls:
            raise self._unforetold(image_id)


def close(chunks: Any) -> None:
    """What a driver's `get` gave: a generator, a file, or glance_store's wrapper of one."""
    for each in (chunks, getattr(chunks, "wrapped", None)):
        if each is not None and hasattr(each, "close"):
            each.close()
