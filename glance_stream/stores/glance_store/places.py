"""Where a driver puts an image, told from its configuration alone; and what can be known of an object that is found there.

Locations are shown without credentials: the drivers of older releases, and swift's without a configuration file, write user and
key before an @. What the driver itself needs is put back from its own ``url_prefix``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

from glance_stream.stores.base import SAFE_NAME
from glance_stream.stores.glance_store.driver import Driver


class Partial(Enum):
    """What a writer that died leaves under the image's name."""

    NEVER = "nothing: an object is seen only when it is complete"
    TOLD = "something that is not found, but can be deleted, at the image's location"
    ALIKE = "an object that can't be told from a complete one"


@dataclass(frozen=True)
class Place:
    """``urls(driver, image_id)``: every location that an image may have, in the driver's own form; none if that can't be told.

    ``announced(driver, size)``: the size that the driver is told of an image; 0 is an unknown one.
    """

    urls: Callable[[Any, str], list[str]]
    partial: Partial
    announced: Callable[[Any, int], int] = lambda _, size: size
    look_for: str = "an object named "  # by hand, where the location can't be told


def _below_prefix(driver: Driver, image_id: str) -> list[str]:
    prefix = driver.url_prefix or ""
    return [f"{prefix.rstrip('/')}/{image_id}"] if "://" in prefix else []


def _files(driver: Any, image_id: str) -> list[str]:
    """One in each of the directories that the driver may choose."""
    several = getattr(driver, "priority_data_map", {})
    directories = [each for paths in several.values() for each in paths] or [driver.store_conf.filesystem_store_datadir]
    return [f"file://{os.path.join(directory, image_id)}" for directory in directories if directory]


def _rbd_images(driver: Driver, image_id: str) -> list[str]:
    """The snapshot is made when all is written: an image without it is not complete, and not found."""
    return [f"{url}/snap" for url in _below_prefix(driver, quote(image_id, ""))]


def _swift_objects(driver: Any, image_id: str) -> list[str]:
    """The container may depend on the image's id. The driver decides by its prefix whether credentials are in a location."""
    if (driver.url_prefix or "").startswith("swift+config://"):
        return [driver.create_location(image_id).get_uri(credentials_included=False)]
    return [driver.create_location(image_id).get_uri()] if driver.url_prefix else []


def _swift_size(driver: Any, size: int) -> int:
    """glance_store 5.7 announces every segment as a full one, and the last one's PUT never ends; not so if the size is unknown."""
    return size if size < driver.large_object_size else 0


def _nowhere(_: Driver, __: str) -> list[str]:
    return []


PLACES = {
    "glance_store._drivers.filesystem": Place(_files, Partial.ALIKE),
    "glance_store._drivers.rbd": Place(_rbd_images, Partial.TOLD),
    "glance_store._drivers.s3": Place(_below_prefix, Partial.NEVER),
    "glance_store._drivers.swift.store": Place(_swift_objects, Partial.NEVER, _swift_size),
    "glance_store._drivers.cinder.store": Place(_nowhere, Partial.ALIKE, look_for="a volume named image-"),
    "glance_store._drivers.vmware_datastore": Place(_nowhere, Partial.ALIKE, look_for="a file in the datastores named "),
}
ANY_OTHER = Place(_below_prefix, Partial.ALIKE)


def place_of(made_by: Any) -> Place:
    """By the module of the driver's class, or of the one that it is derived from."""
    for parent in getattr(made_by, "__mro__", (made_by,)):
        if found := PLACES.get(parent.__module__):
            return found
    return ANY_OTHER


def without_credentials(url: str) -> str:
    """To the last @: a key may have any character, while no image id has an @."""
    return re.sub(r"(?s)^([a-z0-9+.-]+://).*@", r"\1", url)


def with_credentials(driver: Driver, url: str) -> str:
    """The location as the driver has written it, if its credentials are those of the driver's configuration."""
    found = re.match(r"(?s)[a-z0-9+.-]+://(.*@)", driver.url_prefix or "")
    return url.replace("://", f"://{found[1]}", 1) if found else url


def url_within(driver: Driver, place: Place, url: str) -> str | None:
    """A location without credentials as the driver's own if it points into this store, else None. Whole path components."""
    if url.partition("://")[0] not in driver.get_schemes():
        return None
    known = {without_credentials(own): own for name in _names(url) for own in place.urls(driver, name)}
    if url in known:
        return known[url]
    if known or place.urls(driver, "any"):
        return None
    prefix = driver.url_prefix or ""
    if prefix and "://" not in prefix:
        return url  # the http driver has no place of its own
    head, _, name = url.partition("?")[0].rpartition("/")
    shallow = [part for part in head.split("/")[3:] if part in ("", ".", "..")] == []
    components = without_credentials(prefix).rstrip("/").split("/")
    inside = bool(prefix) and head.split("/")[: len(components)] == components and shallow
    return with_credentials(driver, url) if inside and SAFE_NAME.fullmatch(name) else None


def _names(url: str) -> list[str]:
    """The image ids that a location may be of: its last component, or the last but one before a snapshot's name."""
    return [part for part in url.split("/")[-2:] if SAFE_NAME.fullmatch(part)]
