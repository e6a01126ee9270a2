"""Which stores Glance's files name, each as a store of ours.

A store that can't be used here does not stop the others: it is kept, and says why when it is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from glance_stream.config import RESERVED_STORE_PREFIX, StoreConfig, check_store_id, directories_of
from glance_stream.glance_config.drivers import MAPPINGS, Unusable
from glance_stream.glance_config.foreign import foreign
from glance_stream.glance_config.options import DRIVER_OF, DRIVERS, EVERY_STORE, GENERAL, GLANCE_STORE, MANY_OF_OTHERS, WORK_PLACES
from glance_stream.glance_config.settings import DEFAULT, Settings

LOG = logging.getLogger(__name__)

SHARED = "backend_defaults"
LEGACY = "glance_store"


class Section(Mapping[str, Any]):
    """One store's options: its own section, then ``[backend_defaults]``, then the driver's default.

    As glance_store's BackendGroupConfiguration; in the legacy form all stand in ``[glance_store]``.
    """

    def __init__(self, settings: Settings, driver: str, group: str) -> None:
        self._settings = settings
        self._group = group
        self._names = [option.name for option in (*EVERY_STORE, *DRIVERS.get(driver, ()))]

    def __getitem__(self, name: str) -> Any:
        if self._group != LEGACY and not self._settings.is_said(self._group, name):
            return self._settings.get(SHARED, name)
        return self._settings.get(self._group, name)

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def is_said(self, name: str) -> bool:
        """Whether an option is more than the driver's default."""
        groups = [LEGACY] if self._group == LEGACY else [self._group, SHARED]
        return any(self._settings.is_said(group, name) for group in groups)

    def written(self) -> dict[str, str]:
        """The options of this store alone as they are written, for a driver that we don't know."""
        return {} if self._group == LEGACY else self._settings.written(self._group)

    def written_for_all(self) -> dict[str, str]:
        """Those that stand beside the options of other drivers."""
        return self._settings.written(LEGACY if self._group == LEGACY else SHARED)


def read_stores(settings: Settings) -> tuple[dict[str, StoreConfig], str]:
    """The stores by id, and the default one's id. Raises InvalidRequest."""
    settings.register(DEFAULT, GENERAL)
    settings.register(LEGACY, GLANCE_STORE)
    backends = settings.get(DEFAULT, "enabled_backends")
    if not backends:
        return _legacy(settings)
    for store_id, driver in backends.items():
        _check_id(settings, store_id)
        for group in (store_id, SHARED):
            settings.register(group, (*EVERY_STORE, *DRIVERS.get(driver, ()), *MANY_OF_OTHERS))
    for group, option in WORK_PLACES.items():
        settings.register(group, [option])
    settings.register_rest()
    default = settings.get(LEGACY, "default_backend")
    if not default:
        raise settings.error(LEGACY, "default_backend", "missing: it must name one of enabled_backends")
    if default not in backends:
        raise settings.error(LEGACY, "default_backend", f"{default!r} is not one of enabled_backends: {', '.join(backends)}")
    stores = {store_id: _store(settings, store_id, driver, store_id) for store_id, driver in backends.items()}
    _check_work_places(settings, stores)
    return stores, default


def _check_work_places(settings: Settings, stores: Mapping[str, StoreConfig]) -> None:
    """What Glance stages has the image's id for a name, and is removed: in a store's directory that would be the image."""
    for group, option in WORK_PLACES.items():
        place = settings.get(group, option.name)
        for store_id, store in stores.items():
            if place and os.path.realpath(place) in map(os.path.realpath, directories_of(store)):
                raise settings.error(
                    group, option.name, f"is the directory of store {store_id!r}, where the images are: name another"
                )


def _legacy(settings: Settings) -> tuple[dict[str, StoreConfig], str]:
    """From before there were many stores: ``[glance_store] stores``, one of each driver. A store's id is its driver's name."""
    settings.register(LEGACY, EVERY_STORE)
    for options in DRIVERS.values():
        settings.register(LEGACY, options)
    settings.register_rest()
    drivers = dict.fromkeys(DRIVER_OF.get(name, name) for name in settings.get(LEGACY, "stores"))
    default = settings.get(LEGACY, "default_store")
    default = DRIVER_OF.get(default, default)
    if default not in drivers:
        raise settings.error(LEGACY, "default_store", f"{default!r} is not one of stores: {', '.join(drivers)}")
    return {driver: _store(settings, driver, driver, LEGACY) for driver in drivers}, default


def _check_id(settings: Settings, store_id: str) -> None:
    if store_id.lower() in (DEFAULT.lower(), SHARED, LEGACY):
        raise settings.error(DEFAULT, "enabled_backends", f"{store_id!r} is a section of its own kind and can't be a store")
    if store_id.startswith(RESERVED_STORE_PREFIX):
        problem = f"{store_id!r} must not be there: Glance adds its stores for staging and tasks by itself"
        raise settings.error(DEFAULT, "enabled_backends", problem)
    try:
        check_store_id(store_id)
    except ValueError as error:
        raise settings.error(DEFAULT, "enabled_backends", f"{store_id!r} can't be a store: {error}") from error


def _store(settings: Settings, store_id: str, driver: str, group: str) -> StoreConfig:
    section = Section(settings, driver, group)
    described: dict[str, Any] = {"description": section["store_description"] or "", "weight": section["weight"] or 0}
    try:
        mapping = MAPPINGS.get(driver)
        found = mapping(section) if mapping else foreign(driver, section)
    except Unusable as problem:
        return StoreConfig(type="unusable", options={"driver": driver, "reason": str(problem)}, **described)
    for note in found.notes:
        LOG.warning("[%s] of Glance's configuration: %s", group, note)
    return StoreConfig(type=found.type, read_only=driver == "http", options=found.options, **described)
