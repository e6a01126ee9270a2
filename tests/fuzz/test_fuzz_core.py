"""The core against its twin, and at odds with itself: a fixed slice of what `make fuzz` does for longer."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import core_program
import core_race
import pytest
from core_strategies import programs, races
from hypothesis import HealthCheck, given, settings

pytestmark = pytest.mark.timeout(120)
COMPILED, TWIN = "glance_stream._chunker", "glance_stream._chunker_py"


def a_slice(examples: int) -> settings:
    """Always the same examples. Slowness is no failure: a sanitizer may be watching."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def check_program(program: core_program.Program) -> None:
    with tempfile.TemporaryDirectory() as place:
        core_program.run(program, importlib.import_module(TWIN), importlib.import_module(COMPILED), Path(place))


def check_race(race: core_race.Race, core: str = COMPILED) -> None:
    with tempfile.TemporaryDirectory() as place:
        core_race.run(race, importlib.import_module(core), Path(place))


@a_slice(150)
@given(programs())
def test_both_cores_do_the_same(program: core_program.Program) -> None:
    check_program(program)


@pytest.mark.parametrize("core", [COMPILED, TWIN], ids=["compiled", "twin"])
@a_slice(100)
@given(race=races())
def test_who_stays_sees_the_stream(core: str, race: core_race.Race) -> None:
    check_race(race, core)
