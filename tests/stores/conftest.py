"""Makes the shared suite and the fault doubles importable, and gives modules of RBD tests a pool."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
pytest.register_assert_rewrite("conformance", "conformance_adopting", "conformance_traces", "subject")

from rbd_pool_view import PoolView, own_pool  # noqa: E402
from real_servers import CephCluster  # noqa: E402


@pytest.fixture(scope="module")
def pool(ceph: CephCluster) -> Iterator[PoolView]:
    """Of one test module."""
    with own_pool(ceph, f"test-{secrets.token_hex(6)}") as view:
        yield view


@pytest.fixture
def view(pool: PoolView) -> Iterator[PoolView]:
    """The module's pool, empty before and after each test."""
    yield pool
    pool.empty()
