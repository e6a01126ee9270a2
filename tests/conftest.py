"""What every test relies on: a compiled core that is not older than its source, and no silent skips where they are forbidden."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(Path(__file__).parent / "servers"))
pytest_plugins = ["server_fixtures"]
pytest.register_assert_rewrite("faults")  # here, because whoever imports it first decides
# Set where everything that tests need has been installed (.ci/run): a test that can't run is then a failure.
NO_SKIPS = "GLANCE_STREAM_NO_SKIPS"


def pytest_configure(config: pytest.Config) -> None:
    sources = [path for pattern in ("*.pyx", "*.pxi", "*.h") for path in (ROOT / "src").glob(pattern)]
    built = [ROOT / "glance_stream" / f"_chunker{suffix}" for suffix in EXTENSION_SUFFIXES]
    found = [path for path in built if path.exists()]
    if found and any(found[0].stat().st_mtime < source.stat().st_mtime for source in sources):
        raise pytest.UsageError(f"{found[0].name} is older than its source in src/: run 'make build'")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get(NO_SKIPS) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {NO_SKIPS}=1 forbids that: {report.longrepr}"
    return report
