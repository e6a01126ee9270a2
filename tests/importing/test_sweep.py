"""Strays that no record knows: found in every store, removed when they are old enough, and nothing else is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from importing_words import FaultyStore, HeldSource, House, assert_holds, content, run, until

from glance_stream.errors import CatalogueError, InvalidRequest, Leftover, StoreUnavailable
from glance_stream.importing import ImportRequest, import_image
from glance_stream.importing.sweep import Found, Swept, sweep
from glance_stream.stores.base import Store, Stray
from glance_stream.stores.file import FileStore
from glance_stream.stores.http import HttpStore

DAY = 86400.0
LOST = "11111111-2222-4333-8444-555555555555"
OpenSite = Callable[..., House]


def leave(store: Store, image_id: str = LOST, *, age: float = 2 * DAY) -> str:
    """What a writer leaves whose process and catalogue are gone; its trace."""

    trace = store.writer(image_id).trace
    path = Path(trace.removeprefix("file://"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"what it had written")
    os.utime(path, (time.time() - age,) * 2)
    return trace


def traces(found: Iterable[Found]) -> set[str]:
    return {one.stray.trace for one in found}


def swept(house: House, older_than: float = DAY, **options: bool) -> Swept:
    return run(sweep(house.site, older_than, **options))


def test_old_strays_of_every_store_are_removed_and_nothing_else(house: House) -> None:
    image = house.active(None, "a", "b")
    (house.directory("a") / "notes.txt").write_text("not ours")
    (house.directory("a") / ".hidden").write_text("not ours either")
    lost = {leave(house.store(store_id)) for store_id in ("a", "b", "c")}
    young = leave(house.store("a"), age=60)
    done = swept(house)
    assert traces(done.removed) == lost
    assert traces(done.spared) == {young}
    assert (done.leftovers, done.failed) == ((), {})
    assert {one.stray.image_id for one in done.removed} == {LOST}
    assert sorted(os.listdir(house.directory("a"))) == sorted([".hidden", os.path.basename(young), "notes.txt", image.image_id])
    assert house.image(image.image_id) == image


def test_a_dry_run_removes_nothing(house: House) -> None:
    lost = leave(house.store("a"))
    assert traces(swept(house, dry_run=True).removed) == {lost}
    assert house.files() == [f"a/{os.path.basename(lost)}"]


def test_an_import_under_way_is_spared_however_old(house: House) -> None:
    data = content()
    source = HeldSource(data)
    lost = leave(house.store("a"))

    async def scenario() -> str:
        importing = asyncio.ensure_future(import_image(house.site, ImportRequest(source, stores=["a", "b"])))
        await until(source.waiting)
        done = await sweep(house.site, 0)
        assert traces(done.removed) == {lost}
        assert {one.store_id for one in done.spared} == {"a", "b"}
        source.go.set()
        return (await importing).image.image_id

    assert_holds(house, run(scenario()), data, "a", "b")


def test_a_recorded_leftover_is_for_recover(house: House) -> None:
    trace = leave(house.store("a"))
    house.catalogue.record_leftovers(LOST, [Leftover("a", trace, "it would not go")])
    assert traces(swept(house).spared) == {trace}
    assert len(house.files()) == 1


class Silent(FileStore):
    """Does not say what it holds."""

    async def strays(self) -> list[Stray]:
        raise StoreUnavailable(self.store_id, "away")


def test_a_store_that_fails_keeps_no_other_from_being_swept(open_site: OpenSite, tmp_path: Path) -> None:
    names = ("a", "b", "c")
    kinds = {"a": Silent, "b": FileStore}
    stores: dict[str, Store] = {name: kinds[name](name, tmp_path / name) for name in kinds}
    stores["c"] = FaultyStore("c", tmp_path / "c", {"discard": StoreUnavailable("c", "stuck")})
    house = open_site(stores)
    left = {name: leave(house.store(name)) for name in names}
    done = swept(house)
    assert traces(done.removed) == {left["b"]}
    assert {store_id: str(error) for store_id, error in done.failed.items()} == {"a": "store 'a': away"}
    assert [(one.store_id, one.trace, "stuck" in one.reason) for one in done.leftovers] == [("c", left["c"], True)]


def test_a_read_only_store_is_left_alone(open_site: OpenSite, tmp_path: Path) -> None:
    writable = FileStore("a", tmp_path / "a")
    lost = leave(writable)
    read_only = {"a": FileStore("a", tmp_path / "a", read_only=True), "web": HttpStore("web", "http://127.0.0.1:9/")}
    house = open_site(read_only)
    assert swept(house) == Swept()
    assert os.path.exists(lost.removeprefix("file://"))


def test_a_broken_catalogue_removes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise CatalogueError("away")

    leave(house.store("a"))
    monkeypatch.setattr(house.catalogue, "interrupted", fail)
    with pytest.raises(CatalogueError):
        swept(house)
    assert len(house.files()) == 1


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_an_age_that_can_not_be_meant(house: House, seconds: float) -> None:
    with pytest.raises(InvalidRequest):
        swept(house, seconds)
