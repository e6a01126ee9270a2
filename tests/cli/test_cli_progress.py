"""The rows on a terminal: what they say, and that they fit."""

from __future__ import annotations

import pytest

from glance_stream.cli.progress import ECHO, Rows, duration
from glance_stream.transfer import Progress

MIB = 1 << 20


class Watched:
    """Rows that are told of one moment each second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows = Rows(lambda: self.now)

    def show(self, phase: str, read: int, total: int | None, produced: int, stores: dict[str, int], reading: str = "") -> None:
        self.now += 1
        self.rows.show(Progress(phase, read * MIB, total and total * MIB, produced * MIB, stores), reading)

    def row(self, name: str, width: int = 120) -> list[str]:
        (found,) = (line.split() for line in self.rows.lines(width) if line.startswith(name))
        return found


@pytest.fixture
def compressed() -> Watched:
    """Ten seconds of a source that unpacks to more and more than it seemed, so that the guess is another each time."""
    watched = Watched()
    for second in range(1, 11):
        produced = 2 * second + second * second // 5
        stores = {"fast": produced * MIB, "an-archive-with-a-very-long-name": produced * MIB // 2, "file:///some/dir": 0}
        if second > 5:
            del stores["file:///some/dir"]
        watched.show("transferring", second, 40, produced, stores)
    return watched


def test_a_compressed_source_has_rates_guesses_and_the_time_that_the_source_needs(compressed: Watched) -> None:
    source = " ".join(compressed.row("source"))
    assert "25% 10.0 MiB / 40.0 MiB 1.0 MiB/s ~0:30 left" in source
    fast = " ".join(compressed.row("fast"))
    assert "~25% 40.0 MiB / ~160.0 MiB 4.2 MiB/s" in fast
    assert "left" not in fast
    assert "failed" in compressed.row("file:///some/dir")


@pytest.mark.parametrize("width", [10, 20, 30, 40, 59, 60, 79, 80, 100, 200])
def test_rows_fit(compressed: Watched, width: int) -> None:
    """With room for the ^C that the terminal echoes behind the last one."""
    lines = compressed.rows.lines(width)
    assert len(lines) == 5
    assert max(map(len, lines)) <= width - ECHO


def test_a_narrow_terminal_shows_what_matters(compressed: Watched) -> None:
    assert compressed.row("fast", 40) == ["fast", "~25%", "40.0", "MiB", "/", "~160.0", "MiB"]
    assert compressed.row("fast", 59) == compressed.row("fast", 40)
    assert {"4.2", "MiB/s"} <= set(compressed.row("fast", 80))


def test_what_is_known_is_no_guess() -> None:
    watched = Watched()
    watched.show("transferring", 10, 40, 10, {"fast": 8 * MIB})
    watched.show("transferring", 20, 40, 21, {"fast": 16 * MIB})
    assert " ".join(watched.row("fast")[2:]) == "40% 16.0 MiB / 40.0 MiB 8.0 MiB/s"
    watched.show("flushing", 20, None, 20, {"fast": 20 * MIB})
    assert "100%" in watched.row("fast")


def test_the_rate_of_what_is_complete_does_not_fall() -> None:
    watched = Watched()
    for second in range(1, 11):
        watched.show(
            "transferring", min(second, 8), 8, min(second, 8), {"fast": min(2 * second, 8) * MIB, "slow": second // 2 * MIB}
        )
    assert watched.row("fast")[2:] == ["100%", "8.0", "MiB", "/", "8.0", "MiB"]
    assert watched.row("slow")[-1].endswith("iB/s")


def test_a_source_of_unknown_size_has_a_rate_only() -> None:
    watched = Watched()
    for second in (1, 2, 3):
        watched.show("transferring", second, None, second, {"fast": second * MIB})
    assert watched.row("source")[2:] == ["3.0", "MiB", "1.0", "MiB/s"]


def test_the_rate_is_of_the_last_seconds() -> None:
    watched = Watched()
    for second in range(60):
        watched.show("verifying", second if second < 30 else 30, 100, 0, {}, "fast (1 of 2)")
    assert "MiB/s" not in watched.row("fast")
    watched.show("verifying", 1, 100, 0, {}, "far (2 of 2)")
    assert watched.row("far")[:4] == ["far", "(2", "of", "2)"]


@pytest.mark.parametrize("phase", ["rolling back", "flushing", "committing"])
def test_where_nothing_moves_any_more_no_rate_and_no_time_is_promised(phase: str) -> None:
    watched = Watched()
    for second in range(1, 5):
        watched.show("transferring", second, 40, second, {"fast": second * MIB, "mirror": second * MIB})
    assert watched.row("source")[-2:] == ["~0:36", "left"]
    watched.show(phase, 4, 40, 4, {"fast": 4 * MIB})
    told = watched.rows.lines(120)
    assert told[0] == phase
    assert not [line for line in told if "/s" in line or "left" in line]
    assert "failed" in watched.row("mirror")


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 65, 3599.6, 7384)] == ["0:00", "1:05", "1:00:00", "2:03:04"]
