"""Import a virtual-machine image into many stores in one pass: read once, decode once, hash once, all or nothing.

The public names, each imported when it is first used, so that importing the package costs nothing::

    from glance_stream import ImportRequest, Site, import_image, load_config, open_source, run

    site = Site.open(load_config())
    outcome = run(import_image(site, ImportRequest(source=open_source("jammy.img"), all_stores=True)))

``glance_stream.transfer`` is a package; its function of that name, for pipelines with records of their own, is
``from glance_stream.transfer import transfer``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glance_stream.config import load as load_config
    from glance_stream.errors import (
        CatalogueError,
        CatalogueUnavailable,
        DecodeError,
        DigestMismatch,
        Duplicate,
        EmptyImage,
        FormatRejected,
        GlanceStreamError,
        ImageLocked,
        ImageNotFound,
        ImportFailed,
        InvalidRequest,
        Leftover,
        LimitExceeded,
        LockLost,
        NotFound,
        ObjectBusy,
        ObjectDamaged,
        RecordInDoubt,
        SourceError,
        SourceNotFound,
        StoreDenied,
        StoreError,
        StoreFull,
        StoreReadOnly,
        StoreTimeout,
        StoreUnavailable,
    )

    # Not from the package: there these names are modules too.
    from glance_stream.importing.copy_image import copy_image
    from glance_stream.importing.delete import delete_from_store, delete_image
    from glance_stream.importing.import_image import ImportRequest, import_image
    from glance_stream.importing.outcome import Outcome
    from glance_stream.importing.recover import recover
    from glance_stream.importing.site import Site
    from glance_stream.importing.verify import verify
    from glance_stream.inspection import Inspection
    from glance_stream.loop import run
    from glance_stream.model import Image, Location, Status
    from glance_stream.sources import open_source
    from glance_stream.transfer import Expectation, Limits, Progress, Recorder, Transferred, TransferRequest

    __version__: str

__all__ = [
    "CatalogueError",
    "CatalogueUnavailable",
    "DecodeError",
    "DigestMismatch",
    "Duplicate",
    "EmptyImage",
    "Expectation",
    "FormatRejected",
    "GlanceStreamError",
    "Image",
    "ImageLocked",
    "ImageNotFound",
    "ImportFailed",
    "ImportRequest",
    "Inspection",
    "InvalidRequest",
    "Leftover",
    "LimitExceeded",
    "Limits",
    "Location",
    "LockLost",
    "NotFound",
    "ObjectBusy",
    "ObjectDamaged",
    "Outcome",
    "Progress",
    "RecordInDoubt",
    "Recorder",
    "Site",
    "SourceError",
    "SourceNotFound",
    "Status",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreTimeout",
    "StoreUnavailable",
    "TransferRequest",
    "Transferred",
    "__version__",
    "copy_image",
    "delete_from_store",
    "delete_image",
    "import_image",
    "load_config",
    "open_source",
    "recover",
    "run",
    "verify",
]

# Names that are not errors -> their module.
_HOMES = {
    **dict.fromkeys(("Expectation", "Limits", "Progress", "Recorder", "TransferRequest", "Transferred"), "transfer"),
    **dict.fromkeys(("ImportRequest", "Outcome", "Site", "copy_image", "delete_from_store", "delete_image"), "importing"),
    **dict.fromkeys(("import_image", "recover", "verify"), "importing"),
    **dict.fromkeys(("Image", "Location", "Status"), "model"),
    "Inspection": "inspection",
    "open_source": "sources",
    "load_config": "config",
    "run": "loop",
}
_NAMES_THERE = {"load_config": "load"}


if not TYPE_CHECKING:  # a checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            from importlib.metadata import version

            value: object = version("glance-stream")
        else:
            home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
            value = getattr(home, _NAMES_THERE.get(name, name))
        globals()[name] = value  # found without this function from now on
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
