"""Where Ceph's Python bindings come from, and what is said when they don't."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from faults.loop import run

from glance_stream.errors import StoreError
from glance_stream.stores.rbd import RbdOptions, RbdStore
from glance_stream.stores.rbd import bindings as rbd_bindings

PROBE = """
import sys
path = list(sys.path)
from glance_stream.stores.rbd import RbdOptions, RbdStore
store = RbdStore("ceph", RbdOptions())
assert not {"rados", "rbd"} & sys.modules.keys(), "loaded before they are needed"
from glance_stream.stores.rbd.bindings import load
found = load("ceph")
assert load("ceph") == found
import rados, rbd
assert found == (rados, rbd) and found.rbd.RBD().version()
assert sys.path == path
print(sorted(name for name, each in sys.modules.items() if "dist-packages" in (getattr(each, "__file__", None) or "")))
"""


@pytest.fixture
def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(rbd_bindings.importlib, "import_module", import_module)


def test_only_these_two_modules_are_loaded_and_only_when_needed() -> None:
    try:
        rbd_bindings.load("test")
    except StoreError as error:
        pytest.skip(str(error))
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("['rados', 'rbd']\n", "[]\n")  # none where they are this Python's own


@pytest.mark.usefixtures("none_installed")
def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rbd_bindings, "FOREIGN", ())
    with pytest.raises(StoreError, match="python3-rados and python3-rbd"):
        rbd_bindings.load("ceph", [])


@pytest.mark.usefixtures("none_installed")
def test_bindings_of_another_python_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rados.cpython-39-x86_64-linux-gnu.so").touch()
    monkeypatch.setattr(rbd_bindings, "FOREIGN", (str(tmp_path),))
    with pytest.raises(StoreError, match=r"compiled for Python 3\.9, and this is Python 3\."):
        rbd_bindings.load("ceph", [str(tmp_path)])


@pytest.mark.usefixtures("none_installed")
def test_bindings_that_can_not_be_loaded(tmp_path: Path) -> None:
    (tmp_path / f"rados{EXTENSION_SUFFIXES[0]}").write_bytes(b"rubbish")
    loaded = sys.modules.get("rados")
    try:
        with pytest.raises(StoreError, match="can't be loaded"):
            rbd_bindings.load("ceph", [str(tmp_path)])
        assert "rados" not in sys.modules
    finally:
        if loaded is not None:
            sys.modules["rados"] = loaded


def test_a_store_without_bindings_is_built_and_owns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(store_id: str) -> None:
        raise StoreError(store_id, "missing")

    monkeypatch.setattr("glance_stream.stores.rbd.cluster.load", load)
    store = RbdStore("ceph", RbdOptions())
    assert store.where == "pool images of the default cluster"
    assert not store.owns("rbd://fsid/images/id/snap")
    with pytest.raises(StoreError, match="missing"):
        run(store.open())
    run(store.close())


def test_a_location_is_known_by_the_configured_cluster_without_bindings() -> None:
    store = RbdStore("ceph", RbdOptions(fsid="f", pool="a/b"))
    assert store.owns("rbd://f/a%2Fb/id/snap")
    assert not store.owns("rbd://f/a/b/id/snap")
    assert store.where == "pool a/b of cluster f"
