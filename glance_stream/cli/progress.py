"""Rows on a terminal: one for the source, one for each store. Importing this imports rich."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from glance_stream.cli.output import printable
from glance_stream.cli.sizes import iec
from glance_stream.transfer import Progress as Moment

REFRESHES_PER_SECOND = 5  # as often as a person can read, and cheap beside the work
SPEED_SECONDS = 15.0  # long enough to be read, short enough to notice that a store has slowed down
SOURCE = "source"
SETTLING = ("flushing", "committing", "done")  # the whole stream has been read
MOVING = ("opening", "transferring", "verifying")  # in the others, rolling back among them, no byte is under way any more

NARROW = 60  # columns; below, only what can't be done without
ECHO = 4  # columns left free for the ^C that a terminal echoes: in the last column it would wrap and shift all rows
LONGEST_NAME = 16
SHORTEST_BAR, LONGEST_BAR = 5, 40


class Speed:
    """Bytes a second, on average over the last seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, done: int) -> None:
        self._marks.append((now, done))
        while now - self._marks[0][0] > SPEED_SECONDS and len(self._marks) > 2:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """None until two moments are known."""
        if len(self._marks) < 2:
            return None
        (since, before), (until, after) = self._marks[0], self._marks[-1]
        return (after - before) / (until - since) if until > since else None


@dataclass
class Row:
    """``estimated``: ``total`` is. ``left`` is told of the source only: all that is to come depends on it."""

    name: str
    done: int = 0
    total: int | None = None
    estimated: bool = False
    failed: bool = False
    left: str = ""
    speed: Speed = field(default_factory=Speed)

    def cells(self, *, rate: bool) -> list[str]:
        """Percent, bytes, rate and time left."""
        speed = self._rate() if rate else ""
        if self.failed:
            return ["failed", iec(self.done), "", ""]
        about = "~" if self.estimated else ""
        if not self.total:
            return ["", iec(self.done), speed, self.left]
        percent = min(100 * self.done // self.total, 99 if self.estimated else 100)
        return [f"{about}{percent}%", f"{iec(self.done)} / {about}{iec(self.total)}", speed, self.left]

    def _rate(self) -> str:
        if self.total and self.done >= self.total and not self.estimated:
            return ""  # it would only fall
        return f"{iec(self.speed.rate)}/s" if self.speed.rate else ""

    def time_left(self) -> str:
        if not self.total or not self.speed.rate or self.done >= self.total:
            return ""
        return f"~{duration((self.total - self.done) / self.speed.rate)} left"


class Rows:
    """What is shown, without a terminal to show it on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = ""
        self._source = Row(SOURCE)
        self._stores: dict[str, Row] = {}
        self._plain = False

    def show(self, moment: Moment, reading: str = "") -> None:
        now, source = self._clock(), self._source
        name = reading or SOURCE
        if moment.read < source.done or name != source.name:  # the next of several locations that are read one after the other
            source = self._source = Row(name)
        self._phase = moment.phase
        source.done, source.total = moment.read, moment.total
        source.speed.mark(now, moment.read)
        source.left = source.time_left() if moment.phase in MOVING else ""
        expected = self._expected(moment)
        for store_id, position in moment.stores.items():
            row = self._stores.setdefault(store_id, Row(store_id))
            row.done = position
            row.speed.mark(now, position)
            if expected is not None:
                row.total, row.estimated = expected
        if moment.stores:  # none at all is a moment before or after the stores, not the loss of each
            for store_id in self._stores.keys() - moment.stores.keys():
                self._stores[store_id].failed = True

    def _expected(self, moment: Moment) -> tuple[int, bool] | None:
        """How much each store will get and whether that is a guess; None if there is nothing new to say.

        Of a compressed source it is not known, which is then taken to go on as it has begun.
        """
        if moment.phase in SETTLING:
            return moment.produced, False
        if moment.phase != "transferring" or not moment.total or not moment.produced:
            return None
        # The two are not read off at the same time and may differ of a plain source; that they are ever the same is no accident.
        self._plain = self._plain or moment.produced == moment.read
        if self._plain:
            return moment.total, False
        return moment.total * moment.produced // moment.read if moment.read else moment.total, True

    def lines(self, width: int) -> list[str]:
        """At most ``width`` columns each, less what the terminal itself may echo behind the last."""
        room = width - ECHO
        rows = [self._source, *self._stores.values()]
        cells = [row.cells(rate=self._phase in MOVING)[: 2 if width < NARROW else None] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        names = max(len(printable(row.name)) for row in rows)
        names = max(1, min(names, LONGEST_NAME, room - sum(w + 1 for w in widths)))
        while len(widths) > 2 and names < len(SOURCE):  # time and rate go before the names can't be read
            widths.pop()
            names = max(1, min(LONGEST_NAME, room - sum(w + 1 for w in widths)))
        bar = min(LONGEST_BAR, room - names - sum(w + 1 for w in widths) - 1) if width >= NARROW else 0
        told = [self._phase]
        for row, values in zip(rows, cells, strict=True):
            drawn = [_bar(row, bar)] if bar >= SHORTEST_BAR else []
            shown = [f"{value:>{size}}" for value, size in zip(values, widths, strict=False)]
            told.append(" ".join([_short(printable(row.name), names), *drawn, *shown]))
        return [line[:room].rstrip() for line in told]


class Display:
    """Rows on stderr from the first moment shown until ``stop``, which removes them."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            get_renderable=self._rendered,
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,  # the result says it all once more
            redirect_stdout=False,
        )
        self._live.start()

    def show(self, moment: Moment, reading: str = "") -> None:
        self._rows.show(moment, reading)

    def stop(self) -> None:
        self._live.stop()

    def _rendered(self) -> Text:
        return Text("\n".join(self._rows.lines(self._console.width)), no_wrap=True, overflow="crop")


def duration(seconds: float) -> str:
    """1:05, 2:03:04."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(row: Row, width: int) -> str:
    filled = min(width, width * row.done // row.total) if row.total else 0
    return f"{'=' * filled}{'.' * (width - filled)}"


def _short(name: str, width: int) -> str:
    return f"{name:<{width}}" if len(name) <= width else f"{name[: width - 1]}~"
