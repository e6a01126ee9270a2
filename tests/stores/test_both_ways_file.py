"""Our file store and glance_store's filesystem driver in one directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from both_ways import BothWays, System, glance_stores

from glance_stream.stores.file import FileStore


class TestFile(BothWays):
    @pytest.fixture(params=[False, True], ids=["thick driver", "thin driver"])
    def system(self, request: pytest.FixtureRequest, tmp_path: Path) -> System:
        adapter = glance_stores("file", filesystem_store_datadir=str(tmp_path), filesystem_thin_provisioning=request.param)
        return System(FileStore("ours", tmp_path), adapter, lambda: [each.name for each in tmp_path.iterdir()])
