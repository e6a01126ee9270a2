"""A whole configuration of Glance, as it stands on a controller, and what becomes of it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from glance_stream import glance_config
from glance_stream.config import Config, load
from glance_stream.errors import StoreDenied
from glance_stream.stores import TYPES, Stores, build, convert_options

HERE = Path(__file__).parent
SECRETS = ("s3-secret", "swift-secret", "other-secret", "cinder-secret", "db-secret", "keystone-secret", "rabbit$ecret")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory such as /etc/glance."""
    etc = tmp_path / "glance"
    etc.mkdir()
    for name in ("glance-api.conf", "glance-image-import.conf", "swift.conf"):
        shutil.copy(HERE / name, etc)
    api = etc / "glance-api.conf"
    api.write_text(api.read_text().replace("state = /srv/glance", f"state = {tmp_path}/srv\netc = {etc}"))
    return etc


@pytest.fixture
def found(etc: Path) -> Config:
    return glance_config.load([etc])


def test_stores_their_order_and_the_default(found: Config) -> None:
    types = {store_id: store.type for store_id, store in found.stores.items()}
    assert list(types.items()) == [
        ("fast", "file"),
        ("spread", "file_directories"),
        ("ceph", "rbd"),
        ("edge", "rbd"),
        ("objects", "s3"),
        ("archive", "swift"),
        ("old", "unusable"),
        ("web", "http"),
        ("volumes", "glance_store"),
        ("tape", "unusable"),
    ]
    assert found.default_store == "ceph"


def test_what_is_said_of_every_store(found: Config) -> None:
    assert {store_id: store.weight for store_id, store in found.stores.items() if store.weight} == {
        "fast": 20,
        "ceph": 10,
        "objects": 5,
    }
    assert found.stores["fast"].description == "NVMe of the controllers"
    assert [store_id for store_id, store in found.stores.items() if store.read_only] == ["web"]


def expected(etc: Path) -> Mapping[str, Mapping[str, Any]]:
    return {
        "fast": {"path": f"{etc.parent}/srv/images", "file_perm": 640, "thin": True},
        "spread": {"directories": {"/srv/disk1": 200, "/srv/disk2": 200, "/srv/disk3": 0}, "thin": False},
        "ceph": {"pool": "images", "user": "glance", "ceph_conf": "/etc/ceph/ceph.conf", "object_size": 4 << 20, "thin": False},
        "edge": {
            "pool": "images-edge",
            "user": "glance",
            "ceph_conf": "/etc/ceph/edge.conf",
            "object_size": 8 << 20,
            "thin": True,
            "connect_timeout": 15,
        },
        "objects": {
            "endpoint": "https://s3.example",
            "region": "eu-1",
            "access_key": "AKIAEXAMPLE",
            "secret_key": "s3-secret/+",
            "bucket": "images",
            "create_bucket": True,
            "addressing_style": "path",
            "part_size": 16 << 20,
            "parts_in_flight": 4,
            "ca": "/etc/ssl/corporate.pem",
        },
        "archive": {
            "reference": "ref2",
            "auth_url": "https://keystone.example/v3",
            "auth_version": "3",
            "user": "service:glance",
            "key": "swift-secret",
            "project_domain_id": "default",
            "user_domain": "Default",
            "container": "glance",
            "create_container": True,
            "segment_size": 64 << 20,
            "region": "one",
            "endpoint_type": "publicURL",
            "service_type": "object-store",
            "insecure": False,
        },
        "web": {"ca": "/etc/ssl/corporate.pem"},
        "volumes": {
            "driver": "cinder",
            "options": {
                "cinder_store_user_name": "glance",
                "cinder_store_password": "cinder-secret",
                "cinder_volume_type": "images",
            },
        },
    }


def test_every_option_of_every_store(found: Config, etc: Path) -> None:
    assert {store_id: found.stores[store_id].options for store_id in expected(etc)} == expected(etc)


@pytest.mark.parametrize("store_id", ["fast", "spread", "ceph", "edge", "objects", "archive", "old", "web", "volumes", "tape"])
def test_every_option_is_one_that_the_store_takes(found: Config, store_id: str) -> None:
    """By the real structs, which refuse fields that they don't know. No SDK is needed for that but glance_store's own."""
    settings = found.stores[store_id]
    module, _, options = TYPES[settings.type]
    convert_options(settings.options, getattr(import_module(module), options))


def test_rules_of_the_pipeline(found: Config) -> None:
    assert found.hashing_algorithm == "sha256"
    assert found.image_size_cap == 2 << 40
    assert found.decompress == "auto"
    assert found.disk_formats == ("raw", "qcow2", "iso")
    assert found.container_formats[0] == "ami"
    assert found.import_filters is not None
    assert found.import_filters.allowed_ports == (80, 443, 8080)  # glance-api.conf is read after glance-image-import.conf
    assert found.import_filters.disallowed_hosts == ("169.254.169.254", "metadata.internal")
    assert found.import_filters.allowed_schemes == ("http", "https")
    assert found.image_format.vmdk_allowed_types == ("monolithicSparse",)
    assert found.image_format.gpt_safety_checks_nonfatal == ("mbr", "gptmbr")
    assert not found.image_format.require_image_format_match


def test_the_database_of_glance_is_not_the_catalogue(found: Config) -> None:
    assert found.catalogue == load().catalogue


def test_no_secret_is_shown(found: Config, caplog: pytest.LogCaptureFixture) -> None:
    told = [repr(found), str(found), caplog.text, *(repr(store) for store in found.stores.values())]
    told += [str(list(store.__rich_repr__())) for store in found.stores.values()]
    assert not [secret for secret in SECRETS for text in told if secret in text]


def test_stores_that_can_not_be_used_say_why_and_do_not_stop_the_others(found: Config) -> None:
    stores = Stores(found.stores)
    assert stores["fast"].owns(f"file://{stores['fast'].where}/image")
    with pytest.raises(StoreDenied, match="store 'tape': can't be used: there is no driver 'ltfs' here: the native ones are file"):
        stores["tape"].writer("image")
    with pytest.raises(StoreDenied, match="swift_store_multi_tenant"):
        stores["old"].writer("image")


def test_a_location_belongs_to_one_store_by_whole_components(tmp_path: Path) -> None:
    """Sibling prefixes, which glance_store takes for one another (bug 1886374, AC18)."""
    text = "[DEFAULT]\nenabled_backends = one:file, two:file, three:file\n[glance_store]\ndefault_backend = one\n"
    for number, store_id in enumerate(("one", "two", "three")):
        text += f"[{store_id}]\nfilesystem_store_datadir = {tmp_path}/img{'2' * number}\n"
    (tmp_path / "a.conf").write_text(text)
    stores = Stores(glance_config.load([tmp_path / "a.conf"]).stores)
    for number, store_id in enumerate(("one", "two", "three")):
        assert stores.owners(f"file://{tmp_path}/img{'2' * number}/image") == [store_id]


def test_what_has_no_effect_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.conf").write_text(
        "[DEFAULT]\nenabled_backends = a:file, w:http\n[glance_store]\ndefault_backend = a\n"
        f"[a]\nfilesystem_store_datadir = {tmp_path}/a\nfilesystem_store_metadata_file = /etc/glance/m.json\n"
        "[w]\nhttp_proxy_information = http:proxy.example:3128\nhttps_insecure = true\n"
        "[image_import_opts]\nimage_import_plugins = [no_op, image_conversion]\n"
    )
    with caplog.at_level(logging.WARNING):
        found = glance_config.load([tmp_path / "a.conf"])
    assert found.decompress == "never"
    assert [record.getMessage().partition("configuration: ")[2].partition(":")[0] for record in caplog.records] == [
        "filesystem_store_metadata_file",
        "http_proxy_information",
        "https_insecure",
        "the plugin image_conversion is not carried out here",
    ]


def test_a_store_is_built_from_what_is_found(found: Config, etc: Path) -> None:
    assert build("fast", found.stores["fast"]).where == f"{etc.parent}/srv/images"
    assert build("spread", found.stores["spread"]).where == "/srv/disk1, /srv/disk2, /srv/disk3"
