"""Writing to and reading from a real S3 server (radosgw) with this store, boto3 and glance_store's driver: see ``s3_cost.py``.

A row's time holds the start of its process, so compare CPU and memory, which are its extra info and what ``s3_cost.py`` prints.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "servers"))
pytest_plugins = ["server_fixtures"]

import s3_cost  # noqa: E402


@pytest.fixture
def server(radosgw_bucket: Any) -> s3_cost.Server:
    real = radosgw_bucket.server
    return s3_cost.Server(real.endpoint, real.access_key, real.secret_key, real.region, radosgw_bucket.name)


@pytest.mark.parametrize("part", s3_cost.PARTS)
def test_cost(measure: Callable[..., Any], benchmark: Any, source: Path, size: int, server: s3_cost.Server, part: str) -> None:
    if "glance_store" in part and find_spec("glance_store") is None:
        pytest.skip("glance_store is not installed: pip install 'glance-stream[glance-store]'")
    there = str(uuid.uuid4())
    if part.startswith("read"):
        s3_cost.write_boto3(server, source, there)

    def run() -> s3_cost.Cost:
        return s3_cost.cost_of(part, server, source, there if part.startswith("read") else str(uuid.uuid4()))

    cost = measure("S3", run, size)
    benchmark.extra_info.update(cpu_seconds_per_gb=cost.cpu / cost.size * 1e9, peak_bytes=cost.peak)
    assert cost.size == size
