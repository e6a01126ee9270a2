"""Verifying: the verdict on each location, and the very range that is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import SLOT, House, content, run, state
from sqlalchemy import create_engine, text

from glance_stream.catalogue import Operation, Task
from glance_stream.errors import ImportFailed, InvalidRequest, ObjectDamaged
from glance_stream.importing import Checked, Verdict, Verification, copy_image, verify
from glance_stream.model import Location
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores import Stores
from glance_stream.stores.file import FileStore

SIZE = 5 * SLOT + 123
DATA = content(SIZE)


def flipped(*offsets: int) -> bytes:
    data = bytearray(DATA)
    for offset in offsets:
        data[offset] ^= 1
    return bytes(data)


def damaged(house: House, data: bytes, **options: str) -> tuple[Verification, Checked]:
    """What is said of an image in a and b whose object in b is this; that in a must be good."""
    image = house.active(DATA, "a", "b")
    (house.directory("b") / image.image_id).write_bytes(data)
    found = run(verify(house.site, image.image_id, **options))
    assert state(house.image(image.image_id)) == state(image)
    good, bad = found.checked
    assert (good.store_id, good.verdict, good.reason, good.ranges) == ("a", Verdict.GOOD, "", ())
    assert bad.store_id == "b"
    return found, bad


def test_good(house: House) -> None:
    image = house.active(DATA, "a", "b", "c", md5=True)
    found = run(verify(house.site, image.image_id))
    assert [(one.store_id, one.verdict) for one in found.checked] == [(store_id, Verdict.GOOD) for store_id in "abc"]
    assert (found.damaged, found.unreadable) == (False, False)
    assert house.catalogue.holder(image.image_id) is None


@pytest.mark.parametrize(
    ("offsets", "ranges"),
    [
        ([0], [(0, SLOT)]),
        ([SLOT - 1], [(0, SLOT)]),
        ([SLOT], [(SLOT, SLOT)]),
        ([SLOT + 5, 2 * SLOT], [(SLOT, 2 * SLOT)]),
        ([0, 2 * SLOT], [(0, SLOT), (2 * SLOT, SLOT)]),
        ([SIZE - 1], [(5 * SLOT, 123)]),
        ([4 * SLOT, SIZE - 1], [(4 * SLOT, SLOT + 123)]),
    ],
)
def test_a_flipped_bit_is_named_by_its_range(house: House, offsets: list[int], ranges: list[tuple[int, int]]) -> None:
    found, bad = damaged(house, flipped(*offsets))
    assert (bad.verdict, bad.ranges) == (Verdict.DAMAGED, tuple(ranges))
    assert bad.reason == "sha512 differs"
    assert (found.damaged, found.unreadable) == (True, False)


@pytest.mark.parametrize(
    ("data", "ranges"),
    [
        (DATA[:-1], [(5 * SLOT, 123)]),
        (DATA[: 5 * SLOT], [(5 * SLOT, 123)]),
        (DATA[: 2 * SLOT + 7], [(2 * SLOT, 3 * SLOT + 123)]),
        (b"", [(0, SIZE)]),
        (DATA + b"x", [(5 * SLOT, 124)]),
        (DATA + bytes(2 * SLOT), [(5 * SLOT, 2 * SLOT + 123)]),
    ],
    ids=["a byte short", "a slot short", "cut", "empty", "a byte more", "two slots more"],
)
def test_another_length(house: House, data: bytes, ranges: list[tuple[int, int]]) -> None:
    _, bad = damaged(house, data)
    assert (bad.verdict, bad.ranges) == (Verdict.DAMAGED, tuple(ranges))
    assert f"has {len(data)} bytes, recorded are {SIZE}" in bad.reason


def test_missing(house: House) -> None:
    image = house.active(DATA, "a", "b")
    (house.directory("b") / image.image_id).unlink()
    found = run(verify(house.site, image.image_id))
    assert [one.verdict for one in found.checked] == [Verdict.GOOD, Verdict.MISSING]
    assert (found.damaged, found.unreadable) == (True, False)


def make_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("spoil", [make_a_directory, make_a_loop])
def test_unreadable_is_not_damaged(house: House, spoil: Callable[[Path], None]) -> None:
    image = house.active(DATA, "a", "b")
    spoil(house.directory("b") / image.image_id)
    found = run(verify(house.site, image.image_id))
    assert [one.verdict for one in found.checked] == [Verdict.GOOD, Verdict.UNREADABLE]
    assert (found.damaged, found.unreadable) == (False, True)
    assert found.checked[1].reason


def test_what_the_store_itself_says_it_has_lost_is_damaged(open_site: Callable[..., House], tmp_path: Path) -> None:
    """As Swift without one of the segments; a copy goes on with the next location."""

    class Lossy(FileStore):
        lost = False

        def open_reader(self, location: Location) -> Source:
            source = super().open_reader(location)
            if self.lost:
                source.open = lose  # type: ignore[method-assign]
            return source

    def lose() -> SourceInfo:
        raise ObjectDamaged("a", "its segment 2 is gone")

    a = Lossy("a", tmp_path / "stores" / "a")
    house = open_site({"a": a, **{name: FileStore(name, tmp_path / "stores" / name) for name in "bc"}})
    image = house.active(DATA, "a", "b")
    a.lost = True
    found = run(verify(house.site, image.image_id))
    assert [(one.store_id, one.verdict) for one in found.checked] == [("a", Verdict.DAMAGED), ("b", Verdict.GOOD)]
    assert (found.damaged, found.unreadable) == (True, False)
    assert "its segment 2 is gone" in found.checked[0].reason
    notes = run(copy_image(house.site, image.image_id, stores=["c"])).notes
    assert any("passed over a: store 'a': its segment 2 is gone" in note for note in notes)


def test_a_store_that_the_site_does_not_know_is_unreadable(house: House) -> None:
    image = house.active(DATA, "a", "b")
    object.__setattr__(house.site, "stores", Stores({}, {"a": FileStore("a", house.directory("a"))}))
    found = run(verify(house.site, image.image_id))
    assert [one.verdict for one in found.checked] == [Verdict.GOOD, Verdict.UNREADABLE]
    with pytest.raises(InvalidRequest):
        run(verify(house.site, image.image_id, "b"))


def test_without_fingerprints_the_whole_is_what_differs(house: House) -> None:
    image = house.active(DATA, "a", "b")
    engine = create_engine(f"sqlite:///{house.root}/catalogue.db")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM fingerprints"))
    engine.dispose()
    (house.directory("b") / image.image_id).write_bytes(flipped(7))
    found = run(verify(house.site, image.image_id))
    assert [(one.verdict, one.reason, one.ranges) for one in found.checked] == [
        (Verdict.GOOD, "", ()),
        (Verdict.DAMAGED, "sha512 differs", ()),
    ]


def test_one_store_alone(house: House) -> None:
    image = house.active(DATA, "a", "b")
    (house.directory("a") / image.image_id).write_bytes(flipped(7))
    assert [one.verdict for one in run(verify(house.site, image.image_id, "b")).checked] == [Verdict.GOOD]
    assert [one.verdict for one in run(verify(house.site, image.image_id, "a")).checked] == [Verdict.DAMAGED]
    for wrong in ("c", "nowhere", ""):
        with pytest.raises(InvalidRequest):
            run(verify(house.site, image.image_id, wrong))


def test_a_queued_image_has_nothing_to_verify(house: House) -> None:
    with pytest.raises(InvalidRequest, match="only an active image"):
        run(verify(house.site, house.queued().image_id))


def test_an_image_of_a_failed_import_has_no_fingerprints_of_it(house: House) -> None:
    """Else the next content under that id would be found damaged."""
    before = house.queued()
    house.directory("b").mkdir(parents=True)
    (house.directory("b") / before.image_id).write_bytes(b"in the way")
    with pytest.raises(ImportFailed):
        house.import_(content(seed=9), image_id=before.image_id, all_stores=True)
    os.unlink(house.directory("b") / before.image_id)
    house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert not run(verify(house.site, before.image_id)).damaged


def test_a_copy_deleted_meanwhile_has_no_verdict(house: House) -> None:
    """Deleted in due form while another was read: not a copy any more, and no reason for an alarm. The others are told of."""
    image = house.active(DATA, "a", "b", "c")

    def reading(store_id: str, number: int, stores: int) -> None:
        assert stores == 3
        if store_id == "b":
            task = house.catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.DELETE)).task
            house.catalogue.remove_location(task, next(one for one in image.locations if one.store_id == "b"))
            house.catalogue.release(task)
            (house.directory("b") / image.image_id).unlink()

    found = run(verify(house.site, image.image_id, reading=reading))
    assert [(one.store_id, one.verdict) for one in found.checked] == [("a", Verdict.GOOD), ("c", Verdict.GOOD)]
