"""How an RBD store names things: images, their snapshot, locations and traces."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote, unquote

from glance_stream.stores.base import SAFE_NAME

SNAPSHOT = "snap"  # what Nova and Cinder clone from
TEMPORARY_NAME = re.compile(r"\.(?P<image_id>[A-Za-z0-9_][A-Za-z0-9_.-]*)\.[0-9a-f]{16}\.part")


@dataclass(frozen=True)
class Place:
    """An image and its snapshot in the store's pool, and the cluster's fsid."""

    fsid: str
    image: str
    snapshot: str


def temporary_name(image_id: str) -> str:
    return f".{image_id}.{secrets.token_hex(8)}.part"


def image_id_of(temporary: str) -> str | None:
    """None for what is not one of our temporary names."""
    found = TEMPORARY_NAME.fullmatch(temporary)
    return found["image_id"] if found else None


def location_url(fsid: str, pool: str, image_id: str) -> str:
    """As glance_store writes it: ``rbd://fsid/pool/image/snap``, each part percent-encoded."""
    return f"rbd://{quote(fsid, '')}/{quote(pool, '')}/{quote(image_id, '')}/{SNAPSHOT}"


def place_of(url: str, pool: str) -> Place | None:
    """What a location in this pool of whatever cluster names; None for any other URL.

    The short form ``rbd://image`` is not taken: it does not tell which of several pools and clusters has the image.
    """
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    if scheme != "rbd" or len(parts) != 4 or parts[1] != quote(pool, "") or not all(map(SAFE_NAME.fullmatch, parts[2:])):
        return None
    return Place(unquote(parts[0]), *parts[2:])


def trace_url(pool: str, temporary: str) -> str:
    """``rbd://pool/temporary name``: two parts, which no location has. The fsid is not known before the store is opened."""
    return f"rbd://{quote(pool, '')}/{temporary}"


def temporary_of(trace: str, pool: str) -> str | None:
    """The temporary name in a trace of this pool."""
    prefix = f"rbd://{quote(pool, '')}/"
    name = trace.removeprefix(prefix)
    return name if trace.startswith(prefix) and image_id_of(name) else None
