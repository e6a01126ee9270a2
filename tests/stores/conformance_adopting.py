"""What a transfer makes of an object that a store has under the image's name already: part of the suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.loop import run
from subject import IMAGE, SLOT, Subject, content, put, read_all

from glance_stream.errors import Duplicate, ImportFailed
from glance_stream.sources import PathSource
from glance_stream.stores.base import Store
from glance_stream.transfer import Limits, Recorder, Transferred, TransferRequest, transfer

DATA = content(200_000)
LIMITS = Limits(slots=2, slot_size=SLOT, store_timeout=60, source_timeout=60, undo_timeout=60)
OTHERS = {
    "longer": DATA + b"x",
    "another last byte": DATA[:-1] + bytes([DATA[-1] ^ 1]),
}


class Refusing(Recorder):
    """So that the transfer is undone from its very end."""

    async def finished(self, outcome: Transferred) -> None:
        raise RuntimeError("refused")


async def transferred(store: Store, source: Path, recorder: Recorder | None = None) -> Transferred:
    return await transfer(TransferRequest(IMAGE, PathSource(source), [store], limits=LIMITS), recorder)


class AdoptingConformance:
    @pytest.fixture
    def image(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = tmp_path_factory.mktemp("image") / "disk.raw"
        path.write_bytes(DATA)
        return path

    def test_the_same_bytes_are_adopted(self, subject: Subject, image: Path) -> None:
        there = run(put(subject.store, IMAGE, DATA))
        done = run(transferred(subject.store, image))
        assert done.adopted == (subject.store.store_id,)
        assert done.locations == {subject.store.store_id: there}
        assert read_all(subject.store.open_reader(there)) == DATA
        subject.assert_holds(IMAGE)

    def test_what_was_adopted_is_not_undone(self, subject: Subject, image: Path) -> None:
        there = run(put(subject.store, IMAGE, DATA))
        with pytest.raises(RuntimeError):
            run(transferred(subject.store, image, Refusing()))
        assert read_all(subject.store.open_reader(there)) == DATA
        subject.assert_holds(IMAGE)

    @pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
    def test_other_bytes_stay_what_they_are(self, subject: Subject, image: Path, theirs: bytes) -> None:
        there = run(put(subject.store, IMAGE, theirs))
        with pytest.raises(ImportFailed) as caught:
            run(transferred(subject.store, image))
        error = caught.value.failures[subject.store.store_id]
        assert isinstance(error, Duplicate)
        assert "is not this image" in str(error)
        assert read_all(subject.store.open_reader(there)) == theirs
        subject.assert_holds(IMAGE)
