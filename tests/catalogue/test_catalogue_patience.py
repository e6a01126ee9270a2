"""A database that stays away is waited for once, and told of once."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from glance_stream.catalogue import patience
from glance_stream.catalogue.patience import Patience
from glance_stream.errors import CatalogueError, CatalogueUnavailable, GlanceStreamError, LockLost
from glance_stream.retry import RetryPolicy


class Away:
    """A database that fails each time, or raises ``answer``; and the clock by which it is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.error: GlanceStreamError | None = CatalogueUnavailable("refused")
        options = {"clock": lambda: self.now, "pause": self.pause, "uniform": lambda _, most: most}
        self.policy = RetryPolicy(tries=1000, base=0.05, cap=3.0, budget=60.0, **options)  # type: ignore[arg-type]
        shortly = patience.SHORTLY
        monkeypatch.setattr(patience, "SHORTLY", RetryPolicy(shortly.tries, shortly.base, shortly.cap, shortly.budget, **options))  # type: ignore[arg-type]
        monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.patience = Patience("db")

    def pause(self, seconds: float, _: threading.Event) -> None:
        self.now += seconds

    def attempt(self) -> str:
        if self.error is not None:
            raise self.error
        return "done"

    def ask(self) -> float:
        """Seconds until the error was raised."""
        began = self.now
        with pytest.raises(GlanceStreamError):
            self.patience.run(self.policy, self.attempt)
        return self.now - began


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(monkeypatch)


def test_a_whole_budget_is_spent_once(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    assert away.ask() == 60
    assert [away.ask() <= 3 for _ in range(3)] == [True] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "the catalogue does not answer, and is waited for, up to 60 s: refused"
    ]


@pytest.mark.parametrize("answer", [None, LockLost("another's"), CatalogueError("no")])
def test_and_again_after_it_has_answered(away: Away, caplog: pytest.LogCaptureFixture, answer: GlanceStreamError | None) -> None:
    away.ask()
    refused, away.error = away.error, answer
    if answer is None:
        assert away.patience.run(away.policy, away.attempt) == "done"
    else:
        assert away.ask() == 0
    away.error = refused
    assert away.ask() == 60
    assert len(caplog.records) == 2


def test_what_is_soon_over_is_not_told(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    ends_at = away.now + 2
    refused = away.attempt

    def attempt() -> str:
        if away.now > ends_at:
            away.error = None
        return refused()

    assert away.patience.run(away.policy, attempt) == "done"
    assert not caplog.records
