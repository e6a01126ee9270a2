"""Stores of a driver that only an installed glance_store has: cinder, vmware, a third party's.

Its options pass as they are written, and the driver refuses those that it does not know. Glance does not: there each driver takes
what is its own, from ``[backend_defaults]`` above all, where the options of all drivers stand. So the others' are left out here.
"""

from __future__ import annotations

import difflib
import logging
import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from glance_stream.glance_config.drivers import MAPPINGS, Mapped
from glance_stream.glance_config.options import DRIVERS, EVERY_STORE
from glance_stream.glance_config.unusable import Unusable

if TYPE_CHECKING:
    from glance_stream.glance_config.backends import Section

LOG = logging.getLogger(__name__)

# All that glance_store's own drivers may be told begins so, also what our tables leave out.
NATIVE = re.compile(r"(filesystem|rbd|rados|s3|swift|default_swift|https?)_.*")


def foreign(driver: str, section: Section) -> Mapped:
    """Raises Unusable where there is no such driver."""
    found = [*entry_points(group="glance_store.drivers", name=driver)]
    if not found:
        raise Unusable(
            f"there is no driver {driver!r} here: the native ones are {', '.join(sorted(MAPPINGS))}, others are those of an "
            "installed glance_store (pip install 'glance-stream[glance-store]')"
        )
    own, shared = section.written(), section.written_for_all()
    general = {option.name for option in EVERY_STORE}
    known = _known(found[0].load)
    if known is None:
        native = general.union(option.name for options in DRIVERS.values() for option in options)
        options = {name: value for name, value in {**shared, **own}.items() if name not in native and not NATIVE.fullmatch(name)}
        return Mapped("glance_store", {"driver": driver, "options": options})
    notes = tuple(_unheard(driver, name, known) for name in own if name not in known | general)
    return Mapped(
        "glance_store",
        {"driver": driver, "options": {name: value for name, value in {**shared, **own}.items() if name in known - general}},
        notes,
    )


def _known(load: Any) -> set[str] | None:
    """The names of the driver's options, former ones too. None where it can't be loaded; the store says why when it is built."""
    try:
        options = load().OPTIONS or ()
    except Exception as error:  # a third party's module: whatever it raises is this store's trouble and nobody else's
        LOG.debug("a driver of glance_store can't be loaded: %s", error)
        return None
    names = {name for option in options for name in (option.dest, option.name)}
    return names.union(old.name.replace("-", "_") for option in options for old in option.deprecated_opts if old.name)


def _unheard(driver: str, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"{name}: the driver {driver!r} has no such option" + (f"; did you mean {near[0]!r}?" if near else "")
