"""The words of the domain, as plain values. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

DEFAULT_HASH_ALGO = "sha512"  # Glance's `hashing_algorithm`

# Glance's defaults, glance/common/config.py `image_format` options.
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")

# The properties that Glance keeps its import bookkeeping in.
IMPORTING_TO_STORES = "os_glance_importing_to_stores"
FAILED_IMPORT = "os_glance_failed_import"
IMPORT_TASK = "os_glance_import_task"
RESERVED_PROPERTY = "stores"  # rendered from the locations (bug 1889676)
RESERVED_PREFIX = "os_glance"


class Status(StrEnum):
    """Image states that the import data plane moves between (glance/domain `valid_state_targets`)."""

    QUEUED = "queued"
    IMPORTING = "importing"
    ACTIVE = "active"


@dataclass(frozen=True)
class Location:
    """Where a store keeps an image's bytes. ``url`` never holds a credential."""

    url: str
    store_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fingerprints:
    """xxh3-128 of each ``slot_size`` run of the stored bytes: 16 bytes each, the last run may be shorter."""

    slot_size: int
    digests: bytes


@dataclass(frozen=True)
class Beginning:
    """What a transfer has read of a source so far. ``size`` and ``validator`` are the source's; whole slots only."""

    name: str
    size: int
    validator: str
    fingerprints: Fingerprints


@dataclass(frozen=True)
class Image:
    """One catalogue record. ``stores`` is derived from ``locations`` and from nothing else."""

    image_id: str
    status: Status
    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    locations: tuple[Location, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> tuple[str, ...]:
        """Ids of the stores that hold the image, sorted as Glance shows them."""
        return tuple(sorted({location.store_id for location in self.locations}))
