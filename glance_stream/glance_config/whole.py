"""Everything that Glance's files say, as one `Config`."""

from __future__ import annotations

import logging
from typing import Any

from glance_stream import config
from glance_stream.config import ByteSize, Config, ImageFormatConfig, ImportFilters
from glance_stream.glance_config.backends import read_stores
from glance_stream.glance_config.options import FILTERS, IMAGE_FORMAT, IMAGE_IMPORT
from glance_stream.glance_config.settings import DEFAULT, Settings

LOG = logging.getLogger(__name__)

DECOMPRESSION = "image_decompression"
WITHOUT_EFFECT = "no_op"


def read(settings: Settings) -> Config:
    """Raises InvalidRequest."""
    rules = {"import_filtering_opts": FILTERS, "image_import_opts": IMAGE_IMPORT, "image_format": IMAGE_FORMAT}
    for group, options in rules.items():
        settings.register(group, options)
    stores, default = read_stores(settings)
    plugins = settings.get("image_import_opts", "image_import_plugins")
    for plugin in plugins:
        if plugin not in (DECOMPRESSION, WITHOUT_EFFECT):
            LOG.warning("[image_import_opts] of Glance's configuration: the plugin %s is not carried out here", plugin)
    found = Config(
        stores=stores,
        default_store=default,
        catalogue=config.default_catalogue(),
        hashing_algorithm=settings.get(DEFAULT, "hashing_algorithm"),
        image_size_cap=ByteSize(settings.get(DEFAULT, "image_size_cap")),
        decompress="auto" if DECOMPRESSION in plugins else "never",
        disk_formats=_texts(settings, "disk_formats"),
        container_formats=_texts(settings, "container_formats"),
        import_filters=ImportFilters(**{option.name: _filter(settings, option.name) for option in FILTERS}),
        image_format=ImageFormatConfig(
            require_image_format_match=settings.get("image_format", "require_image_format_match"),
            vmdk_allowed_types=_texts(settings, "vmdk_allowed_types"),
            gpt_safety_checks_nonfatal=_texts(settings, "gpt_safety_checks_nonfatal"),
        ),
    )
    config.check_values(found, stores, settings.name)
    return found


def _texts(settings: Settings, name: str) -> tuple[str, ...]:
    return tuple(settings.get("image_format", name))


def _filter(settings: Settings, name: str) -> tuple[Any, ...]:
    """Schemes and hosts are compared without regard to capitals."""
    return tuple(one.lower() if isinstance(one, str) else one for one in settings.get("import_filtering_opts", name))
