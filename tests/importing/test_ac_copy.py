"""copy-image: which location is read, what comes of each failure, and that nothing but bytes goes (AC5-AC8, AC16)."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from importing_words import (
    SLOT,
    STEPS,
    CountingSource,
    House,
    assert_holds,
    assert_settled,
    content,
    file_stores,
    run,
    state,
)

from glance_stream.errors import GlanceStreamError, ImportFailed, InvalidRequest, SourceError, StoreError, StoreFull
from glance_stream.importing import Outcome, copy_image
from glance_stream.model import Location, Status
from glance_stream.sources.base import Source
from glance_stream.stores import Stores
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Progress

DATA = content()
OpenSite = Callable[..., House]
FAILING_STEPS = [step for step in STEPS if step in ("open", "write", "flush", "commit", "after commit")]


def copy(house: House, image_id: str, *stores: str, **options: Any) -> Outcome:
    return run(copy_image(house.site, image_id, **({"stores": list(stores)} if stores else {}), **options))


@pytest.mark.parametrize("step", FAILING_STEPS)
def test_ac5_one_target_fails_and_none_keeps_the_copy(open_site: OpenSite, tmp_path: Path, step: str) -> None:
    """AC5: no object in the good target, the old locations untouched, active throughout."""
    house = open_site(file_stores(tmp_path, "old", "a", b={step: StoreFull("b", "full")}))
    before = house.active(DATA, "old", md5=True)
    house.catalogue.history.clear()
    seen = []

    def observe(progress: Progress) -> None:
        seen.append(house.image(before.image_id).status)

    with pytest.raises(ImportFailed):
        copy(house, before.image_id, "a", "b", observer=observe)
    after = house.image(before.image_id)
    assert state(after) == state(before)
    assert_holds(house, before.image_id, DATA, "old")
    assert house.lists(before.image_id) == ("", "b")
    assert_settled(house, before.image_id, "ab")
    assert house.catalogue.statuses(before.image_id) == [Status.ACTIVE]
    assert set(seen) == {Status.ACTIVE}
    house.store("b").faults.clear()  # type: ignore[attr-defined]
    copy(house, before.image_id, "a", "b")
    assert_holds(house, before.image_id, DATA, "old", "a", "b")


@pytest.mark.parametrize("step", FAILING_STEPS)
def test_best_effort_copies_to_the_others(open_site: OpenSite, tmp_path: Path, step: str) -> None:
    house = open_site(file_stores(tmp_path, "old", "a", b={step: StoreFull("b", "full")}))
    image_id = house.active(DATA, "old").image_id
    outcome = copy(house, image_id, "a", "b", all_stores_must_succeed=False)
    assert list(outcome.failures) == ["b"]
    assert_holds(house, image_id, DATA, "old", "a")
    assert house.lists(image_id) == ("", "b")
    assert_settled(house, image_id, "ab")


@pytest.mark.parametrize("step", FAILING_STEPS)
def test_ac7_all_targets_fail_with_best_effort(open_site: OpenSite, tmp_path: Path, step: str) -> None:
    """AC7: a failure, unlike in Glance."""
    house = open_site(file_stores(tmp_path, "old", a={step: StoreFull("a", "full")}, b={step: StoreFull("b", "full")}))
    before = house.active(DATA, "old")
    with pytest.raises(ImportFailed) as caught:
        copy(house, before.image_id, all_stores=True, all_stores_must_succeed=False)
    assert set(caught.value.failures) == {"a", "b"}
    assert state(house.image(before.image_id)) == state(before)
    assert_holds(house, before.image_id, DATA, "old")
    assert house.lists(before.image_id) == ("", "a,b")
    assert_settled(house, before.image_id, "ab")


# -- which location is read -----------------------------------------------------------------------------------------------------


class ReadableStore(FileStore):
    """Counts what is read from it; ``breaks``: in the middle of that, a read fails."""

    breaks: Exception | None = None
    reads = 0

    def open_reader(self, location: Location) -> Source:
        self.reads += 1
        if self.breaks is None:
            return super().open_reader(location)
        return Breaking(self._path_of(location).read_bytes(), self.breaks)


class Breaking(CountingSource):
    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def readinto(self, view: memoryview) -> int:
        if self.given >= 2 * SLOT:
            raise self._error
        return super().readinto(view)


def readable(root: Path, *names: str) -> dict[str, ReadableStore]:
    return {name: ReadableStore(name, root / "stores" / name) for name in names}


def remove(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).unlink()


def truncate(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).write_bytes(DATA[:-1])


def truncate_by_a_slot(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).write_bytes(DATA[:SLOT])


def extend(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).write_bytes(DATA + b"x")


def empty(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).write_bytes(b"")


def corrupt(store: ReadableStore, image_id: str) -> None:
    (store.path / image_id).write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))


def make_it_a_directory(store: ReadableStore, image_id: str) -> None:
    remove(store, image_id)
    (store.path / image_id).mkdir()


def break_in_the_middle(store: ReadableStore, image_id: str) -> None:
    store.breaks = SourceError("input/output error")


def break_with_a_store_error(store: ReadableStore, image_id: str) -> None:
    store.breaks = StoreError(store.store_id, "the cluster went away")


def move_the_store(store: ReadableStore, image_id: str) -> None:
    """The location that is recorded is no place of the store any more."""
    store.path = store.path.with_name("moved")


DAMAGES = [
    remove,
    truncate,
    truncate_by_a_slot,
    extend,
    empty,
    corrupt,
    make_it_a_directory,
    break_in_the_middle,
    break_with_a_store_error,
    move_the_store,
]


@pytest.mark.parametrize(("damage", "must_succeed"), [(damage, True) for damage in DAMAGES] + [(corrupt, False)])
def test_ac6_a_bad_location_is_passed_over(open_site: OpenSite, tmp_path: Path, damage: Any, must_succeed: bool) -> None:
    """AC6, and beyond Glance: not only a missing object but any that does not give the recorded bytes."""
    stores = readable(tmp_path, "first", "second", "target")
    house = open_site(stores)
    image_id = house.active(DATA, "first", "second").image_id
    damage(stores["first"], image_id)
    outcome = copy(house, image_id, "target", all_stores_must_succeed=must_succeed)
    assert house.object("target", image_id) == DATA
    assert [path.name for path in (tmp_path / "stores" / "target").iterdir()] == [image_id]
    assert outcome.image.stores == ("first", "second", "target")
    assert outcome.failures == {}
    assert len(outcome.notes) == 1
    assert "first" in outcome.notes[0]
    assert (stores["first"].reads, stores["second"].reads) == (1, 1)
    assert_settled(house, image_id, ["target"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_good_location_is_a_failure_that_names_each(open_site: OpenSite, tmp_path: Path, damage: Any) -> None:
    stores = readable(tmp_path, "first", "second", "target")
    house = open_site(stores)
    before = house.active(DATA, "first", "second")
    for name in ("first", "second"):
        damage(stores[name], before.image_id)
    for must_succeed in (True, False):
        with pytest.raises(SourceError, match=r"can't be read:\n  from first: .+\n  from second: "):
            copy(house, before.image_id, "target", all_stores_must_succeed=must_succeed)
        assert state(house.image(before.image_id)) == state(before)
        assert house.files("target") == []
        assert_settled(house, before.image_id, ["target"])


def test_the_default_store_is_read_first(open_site: OpenSite, tmp_path: Path) -> None:
    stores = readable(tmp_path, "a", "b", "target")
    house = open_site(stores, default="b")
    image_id = house.active(DATA, "a", "b").image_id
    copy(house, image_id, "target")
    assert (stores["a"].reads, stores["b"].reads) == (0, 1)


@pytest.mark.parametrize(
    ("weights", "read_from"), [({"b": 1}, "b"), ({"a": 2, "b": 1}, "a"), ({}, "a"), ({"a": -1}, "b"), ({"a": 1, "c": 9}, "a")]
)
def test_then_the_stores_are_read_by_their_weights(
    open_site: OpenSite, tmp_path: Path, weights: dict[str, int], read_from: str
) -> None:
    stores = readable(tmp_path, "a", "b", "c", "target")
    house = open_site(stores, default="target")
    image_id = house.active(DATA, "a", "b").image_id
    house.site = replace(house.site, weights=weights)
    copy(house, image_id, "target")
    assert [store_id for store_id, store in stores.items() if store.reads] == [read_from]


def test_from_pins_the_location(open_site: OpenSite, tmp_path: Path) -> None:
    """--from: that one and no other, neither before it nor after it."""
    stores = readable(tmp_path, "a", "b", "c", "target")
    house = open_site(stores)
    before = house.active(DATA, "a", "b")
    corrupt(stores["b"], before.image_id)
    with pytest.raises(SourceError):
        copy(house, before.image_id, "target", source_store="b")
    assert (stores["a"].reads, stores["b"].reads) == (0, 1)
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, ["target"])
    copy(house, before.image_id, "target", source_store="a")
    assert (stores["a"].reads, stores["b"].reads) == (1, 1)
    for wrong in ("c", "nowhere"):
        with pytest.raises(InvalidRequest, match=wrong):
            copy(house, before.image_id, "c", source_store=wrong)


def test_a_store_already_holding_the_image(house: House) -> None:
    """Named: refused in Glance's words. With all stores: passed over, and with none left nothing is done."""
    image_id = house.active(DATA, "a", "b").image_id
    writes = len(house.catalogue.history)
    with pytest.raises(InvalidRequest, match="Image is already present at store 'b'"):
        copy(house, image_id, "c", "b")
    assert len(house.catalogue.history) == writes
    copy(house, image_id, all_stores=True)
    assert_holds(house, image_id, DATA, "a", "b", "c")
    writes = len(house.catalogue.history)
    outcome = copy(house, image_id, all_stores=True)
    assert outcome.notes == ("every store has the image already",)
    assert len(house.catalogue.history) == writes
    assert_settled(house, image_id, "abc")


def test_a_store_that_the_site_does_not_know_is_not_read(open_site: OpenSite, tmp_path: Path) -> None:
    house = open_site()
    both, lone = house.active(DATA, "c", "a"), house.active(DATA, "c")
    known = {name: FileStore(name, tmp_path / "stores" / name) for name in "ab"}
    object.__setattr__(house.site, "stores", Stores({}, known))
    copy(house, both.image_id, "b")
    assert house.object("b", both.image_id) == DATA
    with pytest.raises(InvalidRequest, match="in no store of this site"):
        copy(house, lone.image_id, "b")
    assert house.image(lone.image_id) == lone


# -- AC8: what is left in the target directory from before


@pytest.mark.parametrize("left", [DATA[:SLOT], DATA[:-1] + bytes([DATA[-1] ^ 1])], ids=["short", "wrong"])
def test_ac8_leftover_temporaries_are_neither_trusted_nor_in_the_way(house: House, left: bytes) -> None:
    """AC8: the copy is exact in all three cases, and nothing of this run stays beside it."""
    image_id = house.active(DATA, "a").image_id
    temporary = house.directory("b") / f".{image_id}.0123456789abcdef.part"
    temporary.parent.mkdir()
    temporary.write_bytes(left)
    house.beside.add(f"b/{temporary.name}")  # of no run that this catalogue knows of: `discard` is for those
    copy(house, image_id, "b")
    assert_holds(house, image_id, DATA, "a", "b")
    assert temporary.read_bytes() == left
    run(house.store("b").discard(f"file://{temporary}"))
    assert not temporary.exists()


@pytest.mark.parametrize("left", [DATA[:SLOT], DATA[:-1] + bytes([DATA[-1] ^ 1])], ids=["short", "wrong"])
def test_an_unrecorded_object_under_the_final_name_is_never_overwritten(house: House, left: bytes) -> None:
    before = house.active(DATA, "a")
    house.directory("b").mkdir()
    (house.directory("b") / before.image_id).write_bytes(left)
    with pytest.raises(ImportFailed) as caught:
        copy(house, before.image_id, "b", "c")
    assert type(caught.value.failures["b"]).__name__ == "Duplicate"
    assert house.object("b", before.image_id) == left
    assert house.files("c") == []
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "bc")


def test_ac16_a_copy_decodes_nothing(house: House) -> None:
    """AC16: gzip bytes are copied as they are, and the record keeps all it says."""
    data = gzip.compress(b"an image " * 20_000)
    before = house.active(data, "a", decompress="never", properties={"os": "ubuntu"}, md5=True)
    copy(house, before.image_id, "b")
    after = house.image(before.image_id)
    assert state(after)[:-2] == state(before)[:-2]
    assert after.properties["os"] == "ubuntu"
    assert_holds(house, before.image_id, data, "a", "b")


def test_the_first_cause_is_an_error_of_ours(open_site: OpenSite, tmp_path: Path) -> None:
    """A target that fails with best effort and a location that is bad: the location is what is wrong."""
    house = open_site(file_stores(tmp_path, "old", "a", b={"open": StoreFull("b", "full")}))
    before = house.active(DATA, "old")
    (house.directory("old") / before.image_id).write_bytes(DATA[:-1])
    with pytest.raises(GlanceStreamError, match="expected"):
        copy(house, before.image_id, "a", "b", all_stores_must_succeed=False)
    assert house.files("a", "b") == []
    assert_settled(house, before.image_id, "ab")
