"""A site's life: imports, copies and deletions of a handful of images, each of them harmed in its own way.

An operation says what its image may be afterwards; whatever else is found is a broken promise.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crash.invariants import Content, State

KIB, MIB = 1 << 10, 1 << 20
# One slot and less, a few slots, an S3 image of one PUT and of several parts, a Swift image of one object and of several segments.
SIZES = (1, 64 * KIB, 300 * KIB + 17, MIB, 3 * MIB + 5, 6 * MIB, 9 * MIB + 4097, 12 * MIB)
MOST_IMAGES = 5
WEIGHTS = {"import": 5, "copy": 4, "delete": 2}
ABSENT, QUEUED = State(None), State(frozenset())


@dataclass(frozen=True)
class Sample:
    """A file to import, and what its image will be."""

    path: Path
    content: Content


@dataclass(frozen=True)
class Operation:
    """One command. ``kind``: what reports call it. ``before`` and ``after``: what its image is, and is once it is done.

    ``halfway``: what it may be besides when the command did not end well. ``stdin``: what is piped into it.
    """

    kind: str
    arguments: tuple[str, ...]
    image_id: str
    before: State
    after: State
    halfway: frozenset[State] = frozenset()
    content: Content | None = None
    stdin: Path | None = None

    @property
    def allowed(self) -> frozenset[State]:
        return self.halfway | {self.before, self.after}


def make_samples(directory: Path, rng: random.Random) -> list[Sample]:
    samples = []
    for number, size in enumerate(SIZES):
        body = bytearray(rng.randbytes(min(size, 64 * KIB)) * (size // (64 * KIB) + 1))[:size]
        for start in range(0, size - 256 * KIB, 2 * MIB):
            body[start : start + 256 * KIB] = bytes(256 * KIB)  # zeros, in the midst
        content = Content(size, hashlib.sha512(body).hexdigest())
        path = directory / f"sample-{number}"
        path.write_bytes(body)
        samples.append(Sample(path, content))
        if size == 3 * MIB + 5:
            packed = directory / f"sample-{number}.gz"
            packed.write_bytes(gzip.compress(bytes(body), 1))
            samples.append(Sample(packed, content))
    return samples


class Workload:
    """Chooses operations by what the images are at the time. ``states`` and ``contents`` are kept by whoever looks."""

    def __init__(self, stores: Sequence[str], samples: Sequence[Sample], rng: random.Random, operations: Sequence[str]) -> None:
        self._stores = list(stores)
        self._samples = samples
        self._rng = rng
        self._operations = operations
        self.states: dict[str, State] = {}
        self.contents: dict[str, Content] = {}

    def next(self) -> Operation:
        choices = list(self._choices())
        kinds = sorted({operation.kind.split()[0] for operation in choices})
        kind = self._rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        return self._rng.choice([operation for operation in choices if operation.kind.split()[0] == kind])

    def surplus(self) -> Operation | None:
        """The deletion of an image, unharmed, where there are so many that soon nothing could be imported any more."""
        if len(self.states) < MOST_IMAGES:
            return None
        image_id, state = self._rng.choice(list(self.states.items()))
        return self._delete(image_id, state)

    def follow(self, operation: Operation) -> Operation:
        """What a user may do next whose command has died."""
        if self._rng.random() < 0.3:
            stores = (operation.before.stores or frozenset()) | (operation.after.stores or frozenset())
            halfway = frozenset(_subsets(sorted(stores)))
            return Operation("delete", ("delete", operation.image_id), operation.image_id, operation.before, ABSENT, halfway)
        if operation.content is None or self._rng.random() < 0.8:
            return operation
        sample = self._rng.choice(self._samples)
        source = ("import", str(sample.path), *operation.arguments[2:])
        return replace(operation, arguments=source, content=sample.content, stdin=None)

    def _choices(self) -> Iterator[Operation]:
        if len(self.states) < MOST_IMAGES and "import" in self._operations:
            yield self._import(str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), ABSENT)
        for image_id, state in self.states.items():
            assert state.stores is not None
            if not state.stores and "import" in self._operations:
                yield self._import(image_id, QUEUED)
            missing = [store_id for store_id in self._stores if store_id not in state.stores]
            if state.stores and missing and "copy" in self._operations:
                yield self._copy(image_id, state, missing)
            if len(state.stores) > 1 and "delete" in self._operations:
                yield self._delete_from_store(image_id, state)
            if "delete" in self._operations and self._rng.random() < 0.3:
                yield self._delete(image_id, state)

    def _import(self, image_id: str, before: State) -> Operation:
        sample = self._rng.choice(self._samples)
        stores = self._some(self._stores, self._rng.choice((1, 1, 2, len(self._stores))))
        best_effort = self._rng.random() < 0.3
        piped = self._rng.random() < 0.3
        arguments = ["import", "-" if piped else str(sample.path), "--id", image_id]
        arguments += [word for store_id in stores for word in ("--store", store_id)]
        halfway = {QUEUED, before, *(_subsets(stores) if best_effort else ())}
        return Operation(
            kind="import best-effort" if best_effort else "import",
            arguments=(*arguments, *(["--best-effort"] if best_effort else [])),
            image_id=image_id,
            before=before,
            after=State(frozenset(stores)),
            halfway=frozenset(halfway),
            content=sample.content,
            stdin=sample.path if piped else None,
        )

    def _copy(self, image_id: str, before: State, missing: Sequence[str]) -> Operation:
        assert before.stores is not None
        stores = self._some(missing, self._rng.choice((1, len(missing))))
        best_effort = self._rng.random() < 0.3
        halfway = [State(before.stores | one.stores) for one in _subsets(stores) if one.stores] if best_effort else []
        return Operation(
            kind="copy best-effort" if best_effort else "copy",
            arguments=(
                "copy",
                image_id,
                *(word for store_id in stores for word in ("--to", store_id)),
                *(["--best-effort"] if best_effort else []),
            ),
            image_id=image_id,
            before=before,
            after=State(before.stores | set(stores)),
            halfway=frozenset(halfway),
        )

    def _delete_from_store(self, image_id: str, before: State) -> Operation:
        assert before.stores is not None
        store_id = self._rng.choice(sorted(before.stores))
        after = State(before.stores - {store_id})
        return Operation("delete from store", ("delete", image_id, "--store", store_id), image_id, before, after)

    def _delete(self, image_id: str, before: State) -> Operation:
        assert before.stores is not None
        halfway = frozenset(_subsets(sorted(before.stores)))
        return Operation("delete", ("delete", image_id), image_id, before, ABSENT, halfway)

    def _some(self, stores: Sequence[str], count: int) -> list[str]:
        return sorted(self._rng.sample(list(stores), min(count, len(stores))))


def _subsets(stores: Sequence[str]) -> Iterator[State]:
    """All that have at least one store."""
    for count in range(1, len(stores) + 1):
        for chosen in itertools.combinations(stores, count):
            yield State(frozenset(chosen))
