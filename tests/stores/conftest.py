"""Makes the shared suite and the fault doubles importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
pytest.register_assert_rewrite("conformance", "conformance_traces", "subject")
