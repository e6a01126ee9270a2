"""What each driver's options are here. Sizes in glance_store are MiB; ours are bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glance_stream.glance_config.swift_reference import read_reference
from glance_stream.glance_config.unusable import Unusable

if TYPE_CHECKING:
    from glance_stream.glance_config.backends import Section

__all__ = ["MAPPINGS", "Mapped", "Unusable"]

MIB = 1 << 20


@dataclass(frozen=True)
class Mapped:
    """A store's type and options; ``notes`` tell what of the operator's words has no effect here."""

    type: str
    options: dict[str, Any]
    notes: tuple[str, ...] = ()


def _file(section: Section) -> Mapped:
    perm = section["filesystem_store_file_perm"]
    options: dict[str, Any] = {"thin": section["filesystem_thin_provisioning"]}
    if perm > 0:
        options["file_perm"] = perm
    unheard = ("filesystem_store_metadata_file: locations get no metadata from it",)
    notes = unheard if section["filesystem_store_metadata_file"] else ()
    many = [text for text in section["filesystem_store_datadirs"] or () if text]
    if many:
        if section.is_said("filesystem_store_datadir") and section["filesystem_store_datadir"]:
            raise Unusable("filesystem_store_datadir and filesystem_store_datadirs can't both be set")
        return Mapped("file_directories", {"directories": _priorities(many), **options}, notes)
    if not section["filesystem_store_datadir"]:
        raise Unusable("filesystem_store_datadir is empty and there are no filesystem_store_datadirs")
    return Mapped("file", {"path": section["filesystem_store_datadir"], **options}, notes)


def _priorities(texts: list[str]) -> dict[str, int]:
    """``path:priority`` as glance_store reads it; without a priority it is 0. Raises Unusable."""
    found: dict[str, int] = {}
    for text in texts:
        path, _, number = (part.strip() for part in text.rpartition(":")) if ":" in text else (text.strip(), "", "")
        try:
            priority = int(number or 0)
        except ValueError as error:
            raise Unusable(f"filesystem_store_datadirs: {text!r} is not of the form PATH:PRIORITY") from error
        if not path.startswith("/"):
            raise Unusable(f"filesystem_store_datadirs: {text!r} is not an absolute path with a priority")
        if found.setdefault(path, priority) != priority:
            raise Unusable(f"filesystem_store_datadirs: {path} has two priorities")
    return found


def _rbd(section: Section) -> Mapped:
    size = section["rbd_store_chunk_size"]
    if size > 32:
        raise Unusable(f"rbd_store_chunk_size: {size} MiB are more than the 32 that librbd takes")
    options = {
        "pool": section["rbd_store_pool"],
        "user": section["rbd_store_user"] or None,
        "ceph_conf": section["rbd_store_ceph_conf"] or None,
        "object_size": MIB << (size.bit_length() - 1),  # glance_store rounds down to a power of two as well
        "thin": section["rbd_thin_provisioning"],
    }
    if section["rados_connect_timeout"] > 0:
        options["connect_timeout"] = section["rados_connect_timeout"]
    return Mapped("rbd", _given(options))


def _s3(section: Section) -> Mapped:
    _require(section, "s3_store_host", "s3_store_access_key", "s3_store_secret_key", "s3_store_bucket")
    style = section["s3_store_bucket_url_format"]
    if style not in ("auto", "path", "virtual"):
        raise Unusable(f"s3_store_bucket_url_format: {style!r} is none of auto, path, virtual")
    options = {
        "endpoint": section["s3_store_host"],
        "access_key": section["s3_store_access_key"],
        "secret_key": section["s3_store_secret_key"],
        "bucket": section["s3_store_bucket"],
        "region": section["s3_store_region_name"] or None,
        "create_bucket": section["s3_store_create_bucket_on_put"],
        "addressing_style": style,
        "part_size": max(5, section["s3_store_large_object_chunk_size"]) * MIB,
        "parts_in_flight": min(64, max(2, section["s3_store_thread_pools"])),
        "ca": section["s3_store_cacert"] or None,
    }
    return Mapped("s3", _given(options))


def _swift(section: Section) -> Mapped:
    if section["swift_store_multi_tenant"]:
        raise Unusable("swift_store_multi_tenant: each image lies in its owner's account, which only the owner's token opens")
    if section["swift_store_multiple_containers_seed"]:
        raise Unusable("swift_store_multiple_containers_seed: containers by image are not supported")
    options = {
        **read_reference(section),
        "container": section["swift_store_container"],
        "create_container": section["swift_store_create_container_on_put"],
        "segment_size": section["swift_store_large_object_chunk_size"] * MIB,
        "region": section["swift_store_region"] or None,
        "endpoint": section["swift_store_endpoint"] or None,
        "endpoint_type": section["swift_store_endpoint_type"],
        "service_type": section["swift_store_service_type"],
        "ca": section["swift_store_cacert"] or None,
        "insecure": section["swift_store_auth_insecure"],
    }
    return Mapped("swift", _given(options))


def _http(section: Section) -> Mapped:
    notes = []
    if section["http_proxy_information"]:
        notes.append("http_proxy_information: images are read without a proxy")
    if section.is_said("https_insecure") and section["https_insecure"]:
        notes.append("https_insecure: certificates are checked all the same")
    return Mapped("http", _given({"ca": section["https_ca_certificates_file"] or None}), tuple(notes))


def _require(section: Section, *names: str) -> None:
    missing = [name for name in names if not section[name]]
    if missing:
        raise Unusable(f"{', '.join(missing)} must be set")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set."""
    return {name: value for name, value in options.items() if value is not None}


MAPPINGS: dict[str, Callable[[Section], Mapped]] = {"file": _file, "rbd": _rbd, "s3": _s3, "swift": _swift, "http": _http}
