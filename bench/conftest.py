"""What the suites share: the size, the source, one way to measure, and the facts without which a figure says nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from glance_stream.benchmark import machine, workload
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DEFAULT_SLOTS
from glance_stream.chunker import core as chosen

SIZE_VARIABLE = "GLANCE_STREAM_BENCH_SIZE"
ROUNDS = 5  # an odd number, so that the median is a round that took place

Measure = Callable[..., Any]
RATES = pytest.StashKey[list[tuple[str, str, float]]]()


def enabled(config: pytest.Config) -> bool:
    return bool(config.getoption("benchmark_enable") or not config.getoption("benchmark_disable"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RATES] = []


def pytest_report_header(config: pytest.Config) -> list[str]:
    facts = machine.facts()
    core = Path(chosen.__file__)
    return [
        f"core: {core.name}, {core.stat().st_size} bytes, {'compiled' if facts['compiled'] else 'PYTHON TWIN'}, "
        f"ring of {DEFAULT_SLOTS} x {DEFAULT_SLOT_SIZE} bytes",
        f"bench: {size_of(config)} bytes, {facts['cores']} cores, {facts['cpu']}, Linux {facts['kernel']}, {facts['openssl']}",
    ]


def size_of(config: pytest.Config) -> int:
    """In whole slots, at least two. Small when nothing is timed: then a benchmark only has to run."""
    wanted = int(os.environ.get(SIZE_VARIABLE, (64 if enabled(config) else 8) << 20))
    return max(2, wanted // DEFAULT_SLOT_SIZE) * DEFAULT_SLOT_SIZE


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> int:
    return size_of(pytestconfig)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, size: int) -> Iterator[Path]:
    """A file of incompressible bytes in the page cache."""
    path = tmp_path_factory.mktemp("source") / "image"
    workload.make(path, size)
    workload.warm(path)
    yield path
    path.unlink()


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    """measure(group, function, size, setup=...): times whole calls, one a round; returns what the last one returned.

    ``setup`` runs before each round and is not timed.
    """

    def measure(group: str, function: Callable[[], Any], size: int | None = None, setup: Callable[[], None] | None = None) -> Any:
        benchmark.group = group
        # pytest-benchmark takes what a setup returns for arguments: ours return None.
        result = benchmark.pedantic(function, setup=setup, rounds=ROUNDS, warmup_rounds=1)
        if benchmark.stats is not None and size is not None:
            rate = size / benchmark.stats.stats.median / 1e6
            benchmark.extra_info["mb_per_second"] = rate
            request.config.stash[RATES].append((group, request.node.name, rate))
        return result

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Rates beside pytest-benchmark's times, since 64 MiB in 117 ms tells nobody anything."""
    rates = config.stash[RATES]
    if rates:
        terminalreporter.section("MB/s (10^6 bytes, median round)")
    for group in dict.fromkeys(group for group, _, _ in rates):
        terminalreporter.write_line(group)
        for _, name, rate in sorted((row for row in rates if row[0] == group), key=lambda row: -row[2]):
            terminalreporter.write_line(f"  {rate:10,.0f}  {name}")


@pytest.fixture
def opened(source: Path) -> Callable[[], Any]:
    """opened(): a context manager that gives a descriptor of the source."""

    @contextmanager
    def opened() -> Iterator[int]:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    return opened
