import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "transfer")]
pytest.register_assert_rewrite("stage")

from stage import Stage  # noqa: E402


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Three stores in memory."""
    stage = Stage()
    yield stage
    stage.release()
