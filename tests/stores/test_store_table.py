"""The table of store types and the stores of a site."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from faults.loop import run
from subject import IMAGE

from glance_stream.config import StoreConfig
from glance_stream.errors import InvalidRequest
from glance_stream.stores import TYPES, Stores, build
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore

OPTIONS: dict[str, dict[str, Any]] = {
    "file": {"path": "/srv/images"},
    "file_directories": {"directories": {"/srv/images": 1, "/srv/more": 0}, "thin": True},
    "glance_store": {"driver": "file", "options": {"filesystem_store_datadir": "/srv/images"}},
    "http": {"url": "https://host/images"},
    "memory": {},
    "rbd": {"pool": "images"},
    "s3": {"endpoint": "https://host", "bucket": "images"},
    "swift": {"auth_url": "https://host/v3", "user": "glance", "key": "k", "container": "images"},
    "unusable": {"driver": "zfs", "reason": "there is no such driver"},
}


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_is_built(type_: str) -> None:
    store = build("mine", StoreConfig(type=type_, read_only=True, options=OPTIONS[type_]))
    assert (store.store_id, store.type, store.traits.read_only) == ("mine", type_, True)


@pytest.mark.parametrize(
    "settings",
    [
        StoreConfig(type="tape", options={}),
        StoreConfig(type="file", options={}),
        StoreConfig(type="file", options={"path": "/x", "paht": "/y"}),
        StoreConfig(type="memory", options={"capacity": "lots"}),
        StoreConfig(type="file", options={"path": "/x", "file_perm": 0o640}),
    ],
)
def test_wrong_settings_are_refused(settings: StoreConfig) -> None:
    with pytest.raises(InvalidRequest, match="mine"):
        build("mine", settings)


@pytest.mark.parametrize(
    ("type_", "options", "words"),
    [
        ("s3", {"addressing_style": "SECRETb"}, "addressing_style: expected one of 'auto', 'path', 'virtual'"),
        ("s3", {"addressing_style": "SECRET - at `$.ca`"}, "addressing_style: expected one of 'auto'"),
        ("s3", {"part_size": "SECRETb"}, "part_size: expected a size: a whole number of bytes"),
        ("s3", {"part_size": "5 SECRET"}, "such as '4 MiB'"),
        ("s3", {"parts_in_flight": "SECRET"}, "parts_in_flight: expected int, got str"),
        ("s3", {"parts_in_flight": 1000}, "parts_in_flight: expected int <= 64"),
        ("s3", {"aces_key": "SECRET"}, "there is no option 'aces_key'; did you mean 'access_key'?"),
        ("swift", {"auth_version": "SECRET"}, "auth_version: expected one of '1', '3', 1, 3"),
        ("file_directories", {"directories": {"/SECRET": "SECRET"}}, "directories: expected int, got str"),
        ("rbd", {"object_size": 5000}, "object_size: write a power of two"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed_and_never_its_value(type_: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match="store 'mine'") as caught:
        build("mine", StoreConfig(type=type_, options=OPTIONS[type_] | options))
    assert words in str(caught.value)
    chain: BaseException | None = caught.value
    assert chain is not None
    assert "SECRET" not in "".join(traceback.format_exception(chain))


def test_a_missing_option_is_named() -> None:
    with pytest.raises(InvalidRequest, match="bucket: missing: add bucket = "):
        build("mine", StoreConfig(type="s3"))


@pytest.mark.parametrize(("type_", "words"), [("S3", "did you mean 's3'?"), ("usable", "known: file, file_directories, ")])
def test_a_type_that_nobody_writes_is_not_offered(type_: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build("mine", StoreConfig(type=type_))
    assert words in str(caught.value)
    assert "unusable" not in str(caught.value)


def test_a_type_is_imported_when_a_store_of_it_is_built() -> None:
    names = "import sys, glance_stream.stores; print([m for m in sys.modules if m.startswith('glance_stream.stores.')])"
    found = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['glance_stream.stores.base']"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    settings = {
        "fast": StoreConfig(type="file", options={"path": str(tmp_path / "fast disk")}),
        "broken": StoreConfig(type="tape", options={}),
    }
    return Stores(settings, {"mem": MemoryStore("mem")})


def test_stores_by_id(stores: Stores) -> None:
    assert list(stores) == ["fast", "broken", "mem"]
    assert len(stores) == 3
    assert stores["fast"] is stores["fast"]
    assert "fast" in stores
    assert "slow" not in stores
    with pytest.raises(KeyError):
        stores["slow"]
    with pytest.raises(InvalidRequest):
        stores["broken"]


def test_a_broken_store_does_not_hide_the_owner(stores: Stores, tmp_path: Path) -> None:
    assert stores.owners(f"file://{tmp_path}/fast disk/{IMAGE}") == ["fast"]
    assert stores.owners(f"memory://mem/{IMAGE}") == ["mem"]
    assert stores.owners("rbd://pool/image") == []


@pytest.mark.parametrize("error", [ValueError("user:secret@host"), ImportError("no SDK"), RuntimeError("a driver's bug")])
def test_whatever_keeps_a_store_from_being_built_does_not_hide_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **options: Any) -> MemoryStore:
        raise error

    monkeypatch.setattr(MemoryStore, "from_options", fail)
    stores = Stores({"bad": StoreConfig(type="memory"), "fast": StoreConfig(type="file", options={"path": str(tmp_path)})})
    assert stores.owners(f"file://{tmp_path}/{IMAGE}") == ["fast"]


def test_a_bare_value_error_does_not_leave_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a refusal that names the store, and without its words, which may quote a secret."""

    def fail(*args: Any, **options: Any) -> MemoryStore:
        raise ValueError("bad netloc 'user:secret@host'")

    monkeypatch.setattr(MemoryStore, "from_options", fail)
    with pytest.raises(InvalidRequest, match="mine") as caught:
        build("mine", StoreConfig(type="memory"))
    assert "secret" not in str(caught.value)


def test_a_url_is_a_store(stores: Stores, tmp_path: Path) -> None:
    store = stores[f"file://{tmp_path}/other"]
    assert isinstance(store, FileStore)
    assert store.path == tmp_path / "other"
    assert stores[f"file://{tmp_path}/other/"] is store
    with pytest.raises(InvalidRequest):
        stores["rbd://pool"]


@pytest.mark.parametrize("url", ["file://{}/fast disk", "file://{}/fast%20disk/", "file://localhost{}/x/../fast%20disk"])
def test_a_url_of_a_configured_place_is_the_configured_store(stores: Stores, tmp_path: Path, url: str) -> None:
    assert stores[url.format(tmp_path)] is stores["fast"]


def test_close_closes_what_was_built(stores: Stores) -> None:
    assert stores["fast"].store_id == "fast"
    run(stores.close())
    run(stores.close())
