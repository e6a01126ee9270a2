"""Ceph's Python bindings: the modules ``rados`` and ``rbd`` of the distribution, also for a venv that does not see them.

No package index has them: they are compiled with Ceph, for the distribution's own Python. A venv of that Python may load the very
files, and only these two, so that nothing else of the distribution leaks into it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import sysconfig
import threading
from collections.abc import Iterable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from glance_stream.errors import StoreError

# Debian and Ubuntu; Fedora, RHEL and SUSE; a Ceph built by hand.
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
DIRECTORIES = (
    "/usr/lib/python3/dist-packages",
    f"/usr/lib64/{VERSION}/site-packages",
    f"/usr/lib/{VERSION}/site-packages",
    f"/usr/local/lib/{VERSION}/dist-packages",
    f"/usr/local/lib/{VERSION}/site-packages",
)
FOREIGN = ("/usr/lib/python3/dist-packages", *(f"/usr/{lib}/python3.*/site-packages" for lib in ("lib64", "lib")))

_lock = threading.Lock()


class Bindings(NamedTuple):
    """The two modules; they have no types."""

    rados: Any
    rbd: Any


def load(store_id: str, directories: Iterable[str] = DIRECTORIES) -> Bindings:
    """Under their own names in ``sys.modules``, so that there is one copy of each. Raises StoreError: what to install."""
    with _lock:  # rbd imports rados
        places = [Path(each) for each in directories]
        return Bindings(*(_module(store_id, name, places) for name in ("rados", "rbd")))


def _module(store_id: str, name: str, directories: list[Path]) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    except ImportError as error:
        raise StoreError(store_id, f"Ceph's Python module {name} can't be loaded: {error}") from error
    for path in (directory / f"{name}{suffix}" for directory in directories for suffix in EXTENSION_SUFFIXES):
        if path.is_file():
            return _load_file(store_id, name, path)
    raise StoreError(store_id, _advice(name))


def _load_file(store_id: str, name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "it has the name of an extension module"
    assert spec.loader is not None
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except ImportError as error:
        sys.modules.pop(name, None)
        raise StoreError(store_id, f"Ceph's Python module {path} can't be loaded: {error}") from error
    return module


def _advice(name: str) -> str:
    built = {
        found[1]
        for pattern in FOREIGN
        for path in Path("/").glob(f"{pattern[1:]}/{name}.*.so")
        if (found := re.search(r"\.cpython-(\d+)", path.name))
    }
    if built:
        versions = " and ".join(sorted(f"{each[0]}.{each[1:]}" for each in built))
        return (
            f"Ceph's Python module {name} is installed, but compiled for Python {versions}, and this is Python "
            f"{sysconfig.get_python_version()}: run glance-stream with the distribution's Python"
        )
    return f"Ceph's Python module {name} is missing: install the distribution's packages python3-rados and python3-rbd"
