"""One harness: a site, a launcher and a workload. Strikes, lets recover, looks, and goes on with what it has found."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from crash.harm import Harms
from crash.invariants import IN_DOUBT, State, state_of, violations
from crash.places import Place
from crash.records import CatalogueView, Records
from crash.report import Report
from crash.victims import Launcher, Run
from crash.workload import ABSENT, QUEUED, Operation, Workload, make_samples

CONFIG = """\
[catalogue]
url = "{url}"
[transfer]
slots = 4
slot_size = "256 KiB"
{stores}
"""
LATER = 2 * 3600.0  # seconds after which nothing comes any more of a request without an answer
WHOLE_EVERY = 25  # points between two looks at every byte of every image
MOST_DOUBTS = 3
MOST_VIOLATIONS = 10

DONE, REFUSED, PARTIAL, LEFTOVERS, INTERRUPTED = 0, 2, 3, 5, 130


class Harness:
    """``signals``: kill, int, term, or int and term ``twice``. ``operations``: import, copy, delete."""

    def __init__(
        self,
        directory: Path,
        places: Sequence[Place],
        url: str,
        seed: int,
        *,
        signals: Sequence[str] = ("kill",),
        twice: bool = False,
        operations: Sequence[str] = ("import", "copy", "delete"),
        about: Mapping[str, Any] | None = None,
        preload: Path | None = None,
    ) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._places = places
        self._signals = signals
        self._twice = twice
        self._config = directory / "site.toml"
        self._config.write_text(CONFIG.format(url=url, stores="\n".join(place.section() for place in places)))
        self._launcher = Launcher(directory, self._config, preload)
        self._harms = Harms(self._rng)
        samples = make_samples(directory, self._rng)
        self._workload = Workload([place.store_id for place in places], samples, self._rng, operations)
        self._view = CatalogueView(url)
        self._records = Records({}, [], {})
        self._operation: Operation | None = None
        self._story: list[str] = []
        self._is_broken = False
        self._known: set[str] = set()
        self.report = Report({"seed": seed, **(about or {})})

    def close(self) -> None:
        self._launcher.close()
        self._view.close()

    def run(self, count: int, most_violations: int = MOST_VIOLATIONS, seconds: float = math.inf) -> Report:
        """Until so many points have hit, the time is over, or too much is broken to learn more."""
        told, end = 0, time.monotonic() + seconds
        while self.report.total < count and len(self.report.violations) < most_violations and time.monotonic() < end:
            self._point()
            if self.report.total >= told + 100:
                told = self.report.total
                print(f"seed {self._seed}: {told} points, {len(self.report.violations)} violations", file=sys.stderr, flush=True)
        return self.report

    def _point(self) -> None:
        operation = self._choose()
        known = self._harms.knows(operation.kind)
        harm = self._harms.choose(operation.kind, self._rng.choice(self._signals), twice=self._twice) if known else None
        self._story = []
        run = self._run(operation, harm)
        self._harms.learn(operation.kind, run)
        if harm is not None:
            self._count(operation, harm, run)
        self._require_exit(run, harm)
        allowed = self._allowed(operation, run)
        if not self._is_over(run):
            allowed = self._end(operation, allowed)
        found = self._look(allowed)
        if harm is not None and run.sent:
            self.report.outcomes[f"{operation.kind}: {outcome(operation, found)}"] += 1
        self._settle_doubts()
        undone = found == operation.before or (operation.content is not None and found in (QUEUED, ABSENT))
        if undone and self._rng.random() < 0.25:
            self._again(operation)

    def _choose(self) -> Operation:
        self._is_broken = False
        while (surplus := self._workload.surplus()) is not None:
            self._operation, self._story = surplus, []
            self._require_exit(self._run(surplus, None), None)
            self._look({ABSENT})
            if self._is_broken:
                break
        operation = self._operation = self._workload.next()
        if operation.content is not None:
            self._workload.contents[operation.image_id] = operation.content
        return operation

    def _run(self, operation: Operation, harm: dict[str, Any] | None) -> Run:
        return self._tell(self._launcher.run(*operation.arguments, harm=harm, stdin=operation.stdin), harm)

    def _tell(self, run: Run, harm: dict[str, Any] | None = None) -> Run:
        harmed = f" harmed by {harm}" if harm else ""
        self._story.append(f"{' '.join(run.arguments)}{harmed}: {run.status} at {run.label!r} after {run.phase!r}")
        return run

    def _count(self, operation: Operation, harm: dict[str, Any], run: Run) -> None:
        if not run.sent:
            self.report.missed += 1
            return
        self.report.points[operation.kind] += 1
        self.report.phases[run.phase if run.fired or run.status < 0 else "at a random time"] += 1
        self.report.layers[harm.get("label", "random time").split()[0] if "label" in harm else "at a random time"] += 1
        self.report.exits[str(run.status)] += 1

    def _require_exit(self, run: Run, harm: dict[str, Any] | None) -> None:
        usual = {DONE}
        if harm is not None and harm["number"] == 9:
            usual |= {-9} if run.sent else set()
        elif run.sent:
            usual |= {INTERRUPTED, PARTIAL} | ({LEFTOVERS} if self._twice else set())
        if run.status not in usual:
            self._broken([f"it ended with {run.status}: {run.told[-1500:]}"])

    def _allowed(self, operation: Operation, run: Run) -> frozenset[State]:
        """What was told is so: a success that was printed before the end counts."""
        told = None if run.result is None else run.result["exit_code"]
        return frozenset({operation.after}) if told == DONE else operation.allowed

    def _is_over(self, run: Run) -> bool:
        """Whether nothing is left to recover: an interrupt that was heeded has rolled back already."""
        return run.status >= 0 and run.status != LEFTOVERS

    def _end(self, operation: Operation, allowed: frozenset[State]) -> frozenset[State]:
        """By recover, or by the next command on the image; gives what the image may be then."""
        done = False
        if self._rng.random() < 0.4:
            done, allowed = self._take_over(operation, allowed)
        if not done:
            self._recover()
        return allowed

    def _take_over(self, operation: Operation, allowed: frozenset[State]) -> tuple[bool, frozenset[State]]:
        """The same command again, with other bytes perhaps, or a deletion. False where it was killed too, or had nothing to do."""
        command = self._workload.follow(operation)
        kind = f"next {command.kind}"
        harm = self._harms.choose(kind, "kill") if self._harms.knows(kind) and self._rng.random() < 0.2 else None
        if command.content != operation.content:
            harm = None  # or nobody could say whose bytes are right
        run = self._run(command, harm)
        self._harms.learn(kind, run)
        if run.sent:
            self.report.points[kind] += 1
        elif run.status == DONE and run.result is not None:
            went_on = any("to go on with" in note for note in run.result["notes"])
            self.report.outcomes[f"{kind}: {'gone on with' if went_on else 'taken over'}"] += 1
            if command.content is not None:
                self._workload.contents[command.image_id] = command.content
            return True, frozenset({command.after})
        elif run.status != REFUSED:
            self._broken([f"the next command ended with {run.status}: {run.told[-1500:]}"])
        return False, allowed | command.allowed if run.sent else allowed

    def _recover(self) -> None:
        """Sometimes the recovery is killed too, and then another one recovers."""
        while self._harms.knows("recover") and self._rng.random() < 0.2:
            harm = self._harms.choose("recover", "kill")
            run = self._tell(self._launcher.run("recover", harm=harm), harm)
            self._harms.learn("recover", run)
            if run.sent:
                self.report.points["recover"] += 1
                self.report.phases[f"recover: {run.phase}"] += 1
        self._evict()
        run = self._tell(self._launcher.run("recover"))
        self._harms.learn("recover", run)
        if run.status not in (DONE, LEFTOVERS) or run.result is None or run.result["held"]:
            self._broken([f"recover ended with {run.status}: {run.told[-1500:]}"])

    def _evict(self) -> None:
        for place in self._places:
            place.evict()

    def _look(self, allowed: Collection[State]) -> State:
        """Everything from outside; gives what the operation's image is now."""
        assert self._operation is not None
        image_id = self._operation.image_id
        may = {each: {state} for each, state in self._workload.states.items()} | {image_id: set(allowed)}
        records = self._records = self._view.read()
        self.report.checks += 1
        whole = records.images if self.report.checks % WHOLE_EVERY == 0 else {image_id}
        broken = violations(records, self._places, self._workload.contents, may, whole)
        if broken:
            self._broken(broken)
        self._workload.states = {each: state_of(record) for each, record in records.images.items()}
        return self._workload.states.get(image_id, ABSENT)

    def _settle_doubts(self) -> None:
        """In two hours an unanswered request has come to nothing or to an object, and recover finishes with it."""
        if not self._records.leftovers or (len(self._records.leftovers) < MOST_DOUBTS and self._rng.random() < 0.5):
            return
        assert self._operation is not None
        run = self._tell(self._launcher.run("recover", shift=LATER))
        self._look({self._workload.states.get(self._operation.image_id, ABSENT)})
        if run.status != DONE or any(one[3].startswith(IN_DOUBT) for one in self._records.leftovers):
            self._broken([f"two hours later recover ended with {run.status}: {run.told[-1500:]}"])

    def _again(self, operation: Operation) -> None:
        """What was rolled back can be done: nothing is in its way."""
        run = self._run(operation, None)
        if run.status != DONE:
            self._broken([f"again, it ended with {run.status}: {run.told[-1500:]}"])
        self._look({operation.after})

    def _broken(self, reasons: list[str]) -> None:
        assert self._operation is not None
        self._is_broken = True
        new = [reason for reason in reasons if reason not in self._known]  # what was once broken stays so, and is told once
        self._known |= set(new)
        if not new:
            return
        about = {"seed": self._seed, "point": self.report.total, "operation": self._operation.kind}
        found = about | {"harm": self._story[0] if self._story else "", "broken": [*new, *self._story]}
        self.report.violations.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)


def outcome(operation: Operation, found: State) -> str:
    if found == operation.after:
        return "finished"
    if found == operation.before:
        return "as before"
    return str(found).split()[0] if not found.stores else "in some stores"
