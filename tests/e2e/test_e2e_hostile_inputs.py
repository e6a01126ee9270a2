"""Hostile inputs, given to the real tool: refused with the right exit code, no crash, no hang, and nothing left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_inputs import INPUTS, Hostile, attack


@pytest.mark.parametrize("hostile", INPUTS, ids=[hostile.name for hostile in INPUTS])
def test_it_is_refused_and_nothing_is_left(tmp_path: Path, hostile: Hostile) -> None:
    outcome = attack(tmp_path / "site", hostile, 3)
    assert (outcome.error, outcome.exit_code) == (hostile.error, hostile.exit_code), outcome
    assert hostile.says in outcome.message
    assert outcome.left == []


@pytest.mark.parametrize("hostile", INPUTS[:4], ids=[hostile.name for hostile in INPUTS[:4]])
def test_so_it_is_with_one_store(tmp_path: Path, hostile: Hostile) -> None:
    outcome = attack(tmp_path / "site", hostile, 1)
    assert (outcome.error, outcome.exit_code, outcome.left) == (hostile.error, hostile.exit_code, []), outcome
