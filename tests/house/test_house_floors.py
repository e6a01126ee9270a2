"""Imports go down only (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "glance_stream"

# The longest name that matches a module decides.
FLOORS = {
    "glance_stream": 6,  # the door: gives names on, lazily
    "glance_stream.__main__": 6,
    "glance_stream.cli": 6,
    "glance_stream.benchmark": 5,
    "glance_stream.importing": 5,
    "glance_stream.catalogue": 4,
    "glance_stream.transfer": 3,
    "glance_stream.rollback": 3,
    "glance_stream.stores": 2,
    "glance_stream.sources": 1,
    "glance_stream.decode": 1,
    "glance_stream.glance_config": 1,
    "glance_stream.inspection": 1,
    "glance_stream.chunker": 1,
    "glance_stream.retry": 0,
    "glance_stream.threads": 0,
    "glance_stream.loop": 0,
    "glance_stream.config": 0,
    "glance_stream.units": 0,
    "glance_stream.model": 0,
    "glance_stream.errors": 0,
    "glance_stream._chunker": 0,
    "glance_stream._chunker_py": 0,
    "glance_stream._chunker_py_ring": 0,
    "glance_stream._chunker_py_write": 0,
}
# Neighbours on one floor that must not know each other.
STRANGERS = [("glance_stream.catalogue", "glance_stream.stores"), ("glance_stream.catalogue", "glance_stream.transfer")]
# SDKs stay at the edge that they belong to; two have two.
SDKS: dict[str, str | tuple[str, ...]] = {
    "sqlalchemy": "glance_stream.catalogue",
    "alembic": "glance_stream.catalogue",
    "psycopg": "glance_stream.catalogue",
    "pymysql": "glance_stream.catalogue",
    "click": "glance_stream.cli",
    "rich": "glance_stream.cli",
    "urllib3": "glance_stream.sources",
    "zstandard": "glance_stream.decode",
    "isal": ("glance_stream.decode", "glance_stream.stores"),  # gzip and zip; S3 has the same checksum
    "lz4": "glance_stream.decode",
    "libarchive": "glance_stream.decode",
    "aiofiles": "glance_stream.stores",
    "botocore": "glance_stream.stores",
    "swiftclient": "glance_stream.stores",
    "keystoneauth1": "glance_stream.stores",
    "rados": "glance_stream.stores",
    "rbd": "glance_stream.stores",
    "glance_store": "glance_stream.stores",
    "oslo_utils": "glance_stream.inspection",
    "oslo_config": ("glance_stream.glance_config", "glance_stream.stores"),  # a driver of glance_store is given its options so
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ("glance_stream", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name: str) -> int:
    while name not in FLOORS:
        name = name.rpartition(".")[0]
        assert name, "a module without a floor: add it to FLOORS and to docs/architecture.md"
    return FLOORS[name]


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_from_its_own_floor_and_below(path: Path) -> None:
    own = module_name(path)
    above = [name for name in imports(path) if inside(name, "glance_stream") and floor(name) > floor(own)]
    assert own == "glance_stream" or not above


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_strangers_do_not_know_each_other(path: Path) -> None:
    own = module_name(path)
    for one, other in STRANGERS:
        if inside(own, one):
            assert not [name for name in imports(path) if inside(name, other)]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_an_sdk_is_imported_at_its_edge_only(path: Path) -> None:
    own = module_name(path)
    for sdk, edges in SDKS.items():
        if any(inside(name, sdk) for name in imports(path)):
            allowed = (edges,) if isinstance(edges, str) else edges
            assert any(inside(own, edge) for edge in allowed), f"{sdk} belongs to {edges}"


@pytest.mark.parametrize("path", [*MODULES, *sorted((PACKAGE.parent / "src").glob("*.pyx"))], ids=lambda path: path.name)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    limit = 900 if path.suffix == ".pyx" else 400  # one compiled core in one file: a second .pyx would need a shared .pxd
    assert len(path.read_text().splitlines()) <= limit
