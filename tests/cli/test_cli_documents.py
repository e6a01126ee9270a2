"""What the documents say of the tool is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from real_program import Program

from glance_stream.config import load
from glance_stream.stores import Stores

ROOT = Path(__file__).parents[2]
JSON = ROOT / "docs" / "json.md"


def test_the_configuration_in_the_readme_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "config.toml"
    file.write_text(found)
    config = load(file)
    stores = Stores(config.stores)
    assert [stores[store_id].traits.read_only for store_id in ("fast", "archive", "mirror")] == [False, True, True]
    file.write_text(found.replace("default_store", "# default_store"))
    assert load(file) == config


def test_defaults_in_the_readme(tmp_path: Path) -> None:
    (found,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    whole, bare = tmp_path / "whole.toml", tmp_path / "bare.toml"
    whole.write_text(found)
    bare.write_text('[stores.fast]\ntype = "file"\npath = "a"\n')
    said, default = load(whole), load(bare)
    assert said.transfer == default.transfer
    assert said.hashing_algorithm == default.hashing_algorithm
    assert said.image_size_cap == default.image_size_cap


def fields(result: dict[str, Any]) -> set[str]:
    """Names of fields, but not of stores and properties, which stand where fields do."""
    inner = [one for value in result.values() if isinstance(value, list) for one in value if isinstance(one, dict)]
    inner += [result[name] for name in ("error", "locked_by") if result.get(name)]
    return {*result, *(name for one in inner for name in one)}


def test_every_field_is_documented(program: Program, image: Path) -> None:
    imported = program.json("import", image, "--name", "jammy", "--store", "fast")
    given: list[list[object]] = [["copy", "jammy", "--to", "mirror"], ["show", "jammy"], ["list"], ["verify", "jammy"], ["stores"]]
    results = program.many(*given, ["recover"], ["delete", "jammy"], ["show", "jammy"])
    documented = set(re.findall(r"`(\w+)`", JSON.read_text())) | {"event"}
    for result in (imported, *results):
        assert fields(result) - documented == set()
