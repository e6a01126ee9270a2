"""Bars on a terminal: one for the source, one for each store. Importing this imports rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from glance_stream.cli.sizes import iec
from glance_stream.transfer import Progress as Moment

REFRESHES_PER_SECOND = 5  # as often as a person can read, and cheap beside the work
SOURCE = "source"
SETTLING = ("flushing", "committing", "done")  # the whole stream has been read


class Bytes(ProgressColumn):
    """Done of all, in IEC units."""

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f" / {iec(task.total)}"
        return Text(f"{iec(task.completed)}{total}", style="progress.download")


class Rate(ProgressColumn):
    """IEC units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{iec(speed)}/s" if speed else "", style="progress.data.speed")


class Display:
    """Bars on stderr from the first moment shown until ``stop``, which removes them."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            Bytes(),
            Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,  # the result says it all once more
            redirect_stdout=False,
        )
        self._source = self._bars.add_task(SOURCE, total=None, note="")
        self._stores: dict[str, TaskID] = {}
        self._read = 0
        self._bars.start()

    def show(self, moment: Moment) -> None:
        if moment.read < self._read:
            self._bars.reset(self._source)  # the next of several locations that are read one after the other
        self._read = moment.read
        self._bars.update(self._source, completed=moment.read, total=moment.total, note=moment.phase)
        expected = _expected(moment)
        for store_id, position in moment.stores.items():
            if store_id not in self._stores:
                self._stores[store_id] = self._bars.add_task(store_id, total=None, note="")
            self._bars.update(self._stores[store_id], completed=position, total=expected)
        if moment.stores:  # none at all is a moment before or after the stores, not the loss of each
            for store_id in self._stores.keys() - moment.stores.keys():
                self._bars.update(self._stores[store_id], note="failed")

    def stop(self) -> None:
        self._bars.stop()


def _expected(moment: Moment) -> int | None:
    """How much each store will get, None if there is nothing new to say.

    Of a compressed source that is not known: it is taken to go on as it has begun.
    """
    if moment.phase in SETTLING:
        return moment.produced
    if moment.phase != "transferring" or not moment.total or not moment.read:
        return None
    return moment.total * moment.produced // moment.read
