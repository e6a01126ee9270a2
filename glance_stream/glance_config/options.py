"""What may stand in Glance's files, as far as it means something here: names, kinds and defaults of Glance 33 and glance_store 5.7.

Tables, and nothing that reads: oslo.config is not imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from glance_stream.model import CONTAINER_FORMATS, DEFAULT_HASH_ALGO, DISK_FORMATS


class Kind(Enum):
    """What a value is."""

    TEXT = "text"
    NUMBER = "number"
    SWITCH = "switch"
    PAIRS = "pairs"  # a:b, c:d
    LIST = "list"  # a, b
    BRACKETED = "bracketed"  # [a, b]
    BRACKETED_NUMBERS = "bracketed numbers"
    MANY = "many"  # the option stands once for each value

    @property
    def bounds(self) -> bool:
        """Whether the list stands in brackets."""
        return self in (Kind.BRACKETED, Kind.BRACKETED_NUMBERS)


@dataclass(frozen=True)
class Option:
    """``deprecated``: (section, name) that it had before."""

    name: str
    kind: Kind
    default: Any = None
    minimum: int | None = None
    maximum: int | None = None
    deprecated: tuple[tuple[str, str], ...] = ()


def _text(name: str, default: str | None = None) -> Option:
    return Option(name, Kind.TEXT, default)


def _number(name: str, default: int | None = None, minimum: int | None = None, maximum: int | None = None) -> Option:
    return Option(name, Kind.NUMBER, default, minimum, maximum)


def _switch(name: str, default: bool = False) -> Option:
    return Option(name, Kind.SWITCH, default)


EVERY_STORE = (_text("store_description"), _number("weight", 0))

FILE = (
    _text("filesystem_store_datadir", "/var/lib/glance/images"),
    Option("filesystem_store_datadirs", Kind.MANY),
    _text("filesystem_store_metadata_file"),
    _number("filesystem_store_file_perm", 0),
    _switch("filesystem_thin_provisioning"),
)

RBD = (
    _text("rbd_store_pool", "images"),
    _text("rbd_store_user"),
    _text("rbd_store_ceph_conf", ""),
    _number("rbd_store_chunk_size", 8, 1),
    _number("rados_connect_timeout", -1),
    _switch("rbd_thin_provisioning"),
)

S3 = (
    *(_text(f"s3_store_{name}") for name in ("host", "access_key", "secret_key", "bucket")),
    _text("s3_store_region_name", ""),
    _switch("s3_store_create_bucket_on_put"),
    _text("s3_store_bucket_url_format", "auto"),
    _number("s3_store_large_object_chunk_size", 10),
    _number("s3_store_thread_pools", 10),
    _text("s3_store_cacert", ""),
)

SWIFT = (
    _text("default_swift_reference", "ref1"),
    *(_text(f"swift_store_{name}") for name in ("config_file", "auth_address", "user", "key", "project_name", "project_id")),
    *(_text(f"swift_store_application_credential_{name}") for name in ("id", "secret")),
    _text("swift_store_auth_version", "3"),
    _text("swift_store_container", "glance"),
    _switch("swift_store_create_container_on_put"),
    _number("swift_store_large_object_chunk_size", 200, 1),
    _switch("swift_store_multi_tenant"),
    _number("swift_store_multiple_containers_seed", 0, 0, 32),
    *(_text(f"swift_store_{name}") for name in ("region", "endpoint", "cacert")),
    _text("swift_store_endpoint_type", "publicURL"),
    _text("swift_store_service_type", "object-store"),
    _switch("swift_store_auth_insecure"),
)

HTTP = (
    _text("https_ca_certificates_file"),
    _switch("https_insecure", True),
    Option("http_proxy_information", Kind.PAIRS, {}),
)

# The driver's name in enabled_backends -> its options.
DRIVERS = {"file": FILE, "rbd": RBD, "s3": S3, "swift": SWIFT, "http": HTTP}

# Of drivers that only an installed glance_store has: what may stand more than once. All else of theirs is passed on as text.
MANY_OF_OTHERS = (Option("vmware_datastores", Kind.MANY),)

# Names that a driver had, or has as a scheme, in [glance_store] stores and default_store.
DRIVER_OF = {
    "filesystem": "file",
    "https": "http",
    "swift+http": "swift",
    "swift+https": "swift",
    "swift+config": "swift",
    "vsphere": "vmware",
}

# Where Glance keeps what is not an image yet: stores that it adds to those of enabled_backends by itself.
WORK_PLACES = {
    store_id: _text("filesystem_store_datadir", f"/var/lib/glance/{store_id}")
    for store_id in ("os_glance_staging_store", "os_glance_tasks_store")
}

GENERAL = (
    Option("enabled_backends", Kind.PAIRS),
    _text("hashing_algorithm", DEFAULT_HASH_ALGO),
    _number("image_size_cap", 1 << 40, 1, (1 << 63) - 1),
)

GLANCE_STORE = (
    _text("default_backend"),
    Option("stores", Kind.LIST, ["file", "http"]),
    _text("default_store", "file"),
)

FILTERS = (
    Option("allowed_schemes", Kind.BRACKETED, ["http", "https"]),
    Option("allowed_ports", Kind.BRACKETED_NUMBERS, [80, 443]),
    *(Option(name, Kind.BRACKETED, []) for name in ("disallowed_schemes", "allowed_hosts", "disallowed_hosts")),
    Option("disallowed_ports", Kind.BRACKETED_NUMBERS, []),
)

IMAGE_IMPORT = (Option("image_import_plugins", Kind.BRACKETED, []),)

IMAGE_FORMAT = (
    *(
        Option(name, Kind.LIST, [*formats], deprecated=(("DEFAULT", name),))
        for name, formats in (("disk_formats", DISK_FORMATS), ("container_formats", CONTAINER_FORMATS))
    ),
    Option("require_image_format_match", Kind.SWITCH, True),
    Option("vmdk_allowed_types", Kind.LIST, ["streamOptimized", "monolithicSparse"]),
    Option("gpt_safety_checks_nonfatal", Kind.LIST, []),
)
