"""The operator's own Glance configuration, read as Glance reads it: ``glance-api.conf`` and what goes with it.

Its stores and its rules for images become a `Config`; neither Glance nor glance_store need be installed. ``[database]`` holds
Glance's records and is not touched: the catalogue, and what one pass may use, are of our own configuration, which is laid over this
one (`glance_stream.config.load`, ``under``).

``files`` says which files are read, ``settings`` reads them with oslo.config, ``options`` tells what may stand in them,
``backends`` which stores there are, ``drivers`` what each driver's options are here, ``whole`` puts it together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from glance_stream.config import Config
from glance_stream.errors import InvalidRequest

VARIABLE = "GLANCE_STREAM_GLANCE_CONFIG"
MISSING = "Glance's configuration is read with oslo.config: pip install 'glance-stream[glance-config]'"


def named(given: Sequence[str] = ()) -> list[str]:
    """The files and directories that are to be read: those given, else those of $GLANCE_STREAM_GLANCE_CONFIG, by colons."""
    return [*given] or [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def load(names: Sequence[str | os.PathLike[str]]) -> Config:
    """The stores and rules of a Glance service. ``names``: files, and directories such as /etc/glance.

    Raises InvalidRequest, which names the file and what to do. A store that can't be used here is in it all the same, and says why
    when it is opened.
    """
    from glance_stream.glance_config.files import find

    files = find(names)
    try:
        from glance_stream.glance_config.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "oslo_config":
            raise
        raise InvalidRequest(MISSING) from error
    from glance_stream.glance_config.whole import read

    return read(Settings(files))
