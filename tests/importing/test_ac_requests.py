"""What is refused before a byte moves, and what `all stores` means (AC12-AC15, AC19, AC25-AC27)."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from importing_words import CountingSource, House, assert_holds, assert_settled, content, file_stores, run, state

from glance_stream.catalogue import Catalogue
from glance_stream.config import StoreConfig
from glance_stream.errors import CatalogueError, ImportFailed, InvalidRequest, StoreTimeout
from glance_stream.importing import (
    ImportRequest,
    Site,
    choosing,
    copy_image,
    delete_from_store,
    delete_image,
    import_image,
    verify,
)
from glance_stream.model import Status
from glance_stream.stores import Stores
from glance_stream.stores.base import Store
from glance_stream.stores.file import FileStore
from glance_stream.stores.http import HttpOptions, HttpStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer import Expectation

DATA = content()
OpenSite = Callable[..., House]

BAD_STORES = [
    {"stores": ["os_glance_staging_store"]},
    {"stores": ["os_glance_tasks_store", "a"]},
    {"stores": []},
    {"stores": ()},
    {"stores": ["a", "a"]},
    {"stores": ["a", "nowhere"]},
    {"stores": "a"},
    {"stores": {"a": 1}},
    {"stores": 7},
    {"stores": ["a", 7]},
    {"stores": ["a"], "all_stores": True},
    {"stores": [], "all_stores": True},
    {"all_stores": "True"},
    {"all_stores": "true"},
    {"all_stores": 1},
    {"stores": ["a"], "all_stores": "False"},
    {"stores": ["a"], "all_stores_must_succeed": "True"},
    {"stores": ["a"], "all_stores_must_succeed": "false"},
    {"stores": ["a"], "all_stores_must_succeed": None},
]
BAD_IMPORTS: list[dict[str, Any]] = [
    *BAD_STORES,
    {"hash_algo": "sha5120"},
    {"hash_algo": ""},
    {"expected": [Expectation("crc32", "00")]},
    {"expected_compressed": [Expectation("crc32", "00")]},
    {"decompress": "rar"},
    {"decompress": ""},
    {"disk_format": ""},
    {"disk_format": "floppy"},
    {"container_format": ""},
    {"container_format": "box"},
]


def refuse_import(house: House, error: type[Exception] = InvalidRequest, **options: Any) -> None:
    """The request is refused with the source not opened, the stores untouched, the records unchanged and nothing written."""
    source = CountingSource(DATA)
    before, files, writes = house.catalogue.list_images(), house.files(), len(house.catalogue.history)
    with pytest.raises(error):
        run(import_image(house.site, ImportRequest(source, **options)))
    assert (source.opened, source.given) == (0, 0)
    assert house.files() == files
    assert house.catalogue.list_images() == before
    assert [write for write, _ in house.catalogue.history[writes:]] == []
    for image in before:
        assert house.catalogue.holder(image.image_id) is None


@pytest.mark.parametrize("options", BAD_IMPORTS, ids=str)
def test_ac25_ac33_a_bad_import_is_refused_before_anything(house: House, options: dict[str, Any]) -> None:
    """AC25 (lists of stores, strings for booleans), AC33 (unknown algorithms), and the formats of section 0."""
    refuse_import(house, **options)
    refuse_import(house, image_id=str(uuid.uuid4()), **options)
    if not {"disk_format", "container_format"} & options.keys():  # an image of before has its own
        refuse_import(house, image_id=house.queued().image_id, **options)


@pytest.mark.parametrize("options", BAD_STORES, ids=str)
def test_ac25_a_bad_copy_is_refused_before_anything(house: House, options: dict[str, Any]) -> None:
    image = house.active(DATA, "c")
    writes = len(house.catalogue.history)
    with pytest.raises(InvalidRequest):
        run(copy_image(house.site, image.image_id, **options))
    assert house.image(image.image_id) == image
    assert len(house.catalogue.history) == writes
    assert_holds(house, image.image_id, DATA, "c")


def test_a_copy_must_name_its_stores(house: House) -> None:
    image = house.active(DATA)
    with pytest.raises(InvalidRequest, match="name the stores"):
        run(copy_image(house.site, image.image_id))


def test_an_unknown_algorithm_of_the_site_or_of_the_record_is_refused_before_anything(house: House) -> None:
    """AC33: wherever the algorithm comes from."""
    recorded = house.queued(os_hash_algo="md17")
    refuse_import(house, image_id=recorded.image_id)
    house.site = replace(house.site, hash_algo="md17")
    refuse_import(house)


@pytest.mark.parametrize("missing", [{"container_format": None}, {"disk_format": None, "container_format": "ova"}], ids=str)
def test_an_image_without_a_format_is_refused(house: House, missing: dict[str, Any]) -> None:
    refuse_import(house, image_id=house.queued(**missing).image_id)


def test_an_active_image_is_not_imported_again(house: House) -> None:
    refuse_import(house, image_id=house.active(DATA).image_id)


@pytest.mark.parametrize("image_id", ["", "no-uuid", "../../etc/passwd", str(uuid.uuid4()).upper()])
def test_an_image_id_must_be_a_uuid(house: House, image_id: str) -> None:
    refuse_import(house, image_id=image_id)


@pytest.mark.parametrize("options", [{"stores": ["b"]}, {"all_stores": True}])
def test_a_queued_image_is_not_copied(house: House, options: dict[str, Any]) -> None:
    image = house.queued()
    with pytest.raises(InvalidRequest, match="only an active image"):
        run(copy_image(house.site, image.image_id, **options))
    assert house.image(image.image_id) == image


@pytest.mark.parametrize(
    "operation",
    [
        lambda site, image_id: copy_image(site, image_id, stores=["b"]),
        lambda site, image_id: delete_from_store(site, image_id, "a"),
        delete_image,
        verify,
    ],
    ids=["copy", "delete from store", "delete", "verify"],
)
def test_an_unknown_image_is_refused(house: House, operation: Callable[[Site, str], Any]) -> None:
    with pytest.raises(InvalidRequest, match="not in the catalogue"):
        run(operation(house.site, str(uuid.uuid4())))
    assert house.catalogue.history == []


@pytest.mark.parametrize("name", ["stores", "os_glance_importing_to_stores", "os_glance_import_task", "os_glance", "os_glance_x"])
def test_ac15_reserved_properties_are_refused_on_create_and_on_update(house: House, name: str) -> None:
    """AC15."""
    refuse_import(house, properties={name: "z"})
    image = house.active(DATA, "a", "b")
    for change in ({"set": {name: "z"}}, {"set": {}, "remove": [name]}):
        with pytest.raises(InvalidRequest, match="read-only"):
            house.catalogue.update_properties(image.image_id, **change)
    assert house.image(image.image_id) == image
    assert image.stores == ("a", "b")


# -- stores that can't be written to ----------------------------------------------------------------------------------------------


def read_only_stores(root: Path) -> list[Store]:
    return [
        HttpStore.from_options("web", HttpOptions(url="http://127.0.0.1:9/images/"), read_only=True),
        FileStore("web", root / "stores" / "web", read_only=True),
        MemoryStore("web", read_only=True),
    ]


@pytest.mark.parametrize("kind", range(3), ids=["http", "file", "memory"])
def test_ac12_all_stores_leaves_read_only_stores_out(open_site: OpenSite, tmp_path: Path, kind: int) -> None:
    """AC12: and does not list them as failed; for a copy too."""
    web = read_only_stores(tmp_path)[kind]
    house = open_site({"web": web, **file_stores(tmp_path, "a", "b")}, default="a")
    image = house.import_(DATA, all_stores=True).image
    assert_holds(house, image.image_id, DATA, "a", "b")
    assert house.lists(image.image_id) == ("", "")
    image = house.active(DATA, "a")
    run(copy_image(house.site, image.image_id, all_stores=True))
    assert house.image(image.image_id).stores == ("a", "b")
    assert_settled(house, image.image_id, "ab")


@pytest.mark.parametrize("kind", range(3), ids=["http", "file", "memory"])
def test_ac13_an_explicit_read_only_store_is_refused(open_site: OpenSite, tmp_path: Path, kind: int) -> None:
    """AC13: before any byte moves, and with best effort too."""
    web = read_only_stores(tmp_path)[kind]
    house = open_site({"web": web, **file_stores(tmp_path, "a")}, default="web")
    for must_succeed in (True, False):
        refuse_import(house, stores=["a", "web"], all_stores_must_succeed=must_succeed)
    refuse_import(house)  # the default store
    image = house.active(DATA, "a")
    with pytest.raises(InvalidRequest, match="read-only"):
        run(copy_image(house.site, image.image_id, stores=["web"]))
    assert house.image(image.image_id) == image


@pytest.fixture
def unmakeable(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory for a store that can't be made or written to, in one of several ways."""
    if request.param == "below a file":
        (tmp_path / "file").write_bytes(b"")
        yield tmp_path / "file" / "images"
    elif request.param == "a file":
        (tmp_path / "file").write_bytes(b"")
        yield tmp_path / "file"
    else:
        mount = tmp_path / "mounted"
        mount.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mount], capture_output=True, check=False).returncode:
            pytest.skip("mounting needs privileges")
        try:
            yield mount if request.param == "read-only" else mount / "images"
        finally:
            subprocess.run(["umount", mount], check=True)


CANT_BE_MADE = ["below a file", "a file", "read-only", "below read-only"]


@pytest.mark.parametrize("unmakeable", CANT_BE_MADE, indirect=True)
def test_ac14_all_stores_leaves_out_what_lost_its_write_access(
    open_site: OpenSite, tmp_path: Path, unmakeable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """AC14: skipped with a warning that names it."""
    house = open_site({**file_stores(tmp_path, "a", "b"), "lost": FileStore("lost", unmakeable)})
    with caplog.at_level(logging.WARNING):
        image = house.import_(DATA, all_stores=True).image
    assert image.stores == ("a", "b")
    assert house.lists(image.image_id) == ("", "")
    warnings = [record.getMessage() for record in caplog.records if "left out of all stores" in record.getMessage()]
    assert len(warnings) == 1
    assert "'lost'" in warnings[0]


@pytest.mark.parametrize("unmakeable", CANT_BE_MADE, indirect=True)
def test_ac14_an_explicit_store_that_lost_its_write_access_fails_with_its_reason(
    open_site: OpenSite, tmp_path: Path, unmakeable: Path
) -> None:
    house = open_site({**file_stores(tmp_path, "a", "b"), "lost": FileStore("lost", unmakeable)})
    before = house.queued()
    with pytest.raises(ImportFailed) as caught:
        house.import_(DATA, image_id=before.image_id, stores=["a", "lost"])
    assert list(caught.value.failures) == ["lost"]
    assert state(house.image(before.image_id)) == state(before)
    assert house.files("a", "b") == []
    assert_settled(house, before.image_id, ["a", "lost"])


def test_ac14_nothing_writable_is_a_bad_request(open_site: OpenSite) -> None:
    house = open_site({"web": MemoryStore("web", read_only=True)})
    refuse_import(house, all_stores=True)


class HangingStore(MemoryStore):
    """Never gets to the end of opening."""

    async def open(self) -> None:
        await asyncio.sleep(3600)


def test_ac26_a_store_that_hangs_stops_nobody_else(open_site: OpenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AC26: waited for within its time limit, reported, and the other stores are of full use."""
    monkeypatch.setattr(choosing, "OPEN_SECONDS", 0.2)
    stores = {**file_stores(tmp_path, "a", "b"), "hung": HangingStore("hung")}
    house = open_site(stores)
    house.site = replace(house.site, limits=replace(house.site.limits, store_timeout=0.3, undo_timeout=0.2))
    outcome = house.import_(DATA, all_stores=True, all_stores_must_succeed=False)
    assert outcome.image.stores == ("a", "b")
    assert isinstance(outcome.failures["hung"], StoreTimeout)
    assert_settled(house, outcome.image.image_id, stores)
    before = house.queued()
    with pytest.raises(ImportFailed, match="hung"):
        house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert state(house.image(before.image_id)) == state(before)
    assert house.import_(DATA, stores=["b", "a"]).image.stores == ("a", "b")


def test_ac26_a_store_that_is_configured_wrongly_stops_nobody_else(open_site: OpenSite, tmp_path: Path) -> None:
    """AC26: it can't even be built; whoever does not name it is not disturbed."""
    house = open_site()
    wrong = StoreConfig(type="flie", options={})
    house.site = replace(house.site, stores=Stores({"wrong": wrong}, file_stores(tmp_path, "a", "b")))
    image = house.import_(DATA, stores=["a"]).image
    run(copy_image(house.site, image.image_id, stores=["b"]))
    with pytest.raises(InvalidRequest, match="flie"):  # a mistake to be mended, not to be passed over
        house.import_(DATA, all_stores=True)
    house.site = replace(house.site, stores=Stores({}, file_stores(tmp_path, "a", "b")))
    assert_holds(house, image.image_id, DATA, "a", "b")


# -- AC19 -------------------------------------------------------------------------------------------------------------------------


def test_ac19_a_catalogue_that_can_not_be_written_to(house: House) -> None:
    """AC19: refused before a byte is read or written; the source is not even opened. Verifying only reads, so it works."""
    queued, active = house.queued(), house.active(DATA, "a", "b")
    files = house.files()
    with Catalogue(f"sqlite:///file:{house.root}/catalogue.db?mode=ro&uri=true") as read_only:
        site = replace(house.site, catalogue=read_only)
        for image_id in (None, queued.image_id, str(uuid.uuid4())):
            source = CountingSource(DATA)
            with pytest.raises(CatalogueError, match="read-only"):
                run(import_image(site, ImportRequest(source, image_id, stores=["c"])))
            assert (source.opened, source.given) == (0, 0)
        for operation in (
            copy_image(site, active.image_id, stores=["c"]),
            delete_from_store(site, active.image_id, "a"),
            delete_image(site, active.image_id),
        ):
            with pytest.raises(CatalogueError, match="read-only"):
                run(operation)
        assert not run(verify(site, active.image_id)).damaged
    assert house.files() == files
    assert house.image(queued.image_id) == queued
    assert house.image(active.image_id) == active


# -- AC27 -------------------------------------------------------------------------------------------------------------------------


def test_ac27_store_ids_beyond_ascii(open_site: OpenSite, tmp_path: Path) -> None:
    """AC27: through locations, lists, reasons and the journal."""
    house = open_site(file_stores(tmp_path, "köln", "東京", "Ähre Süd"))
    outcome = house.import_(DATA, all_stores=True)
    assert outcome.image.stores == ("köln", "Ähre Süd", "東京")
    assert all(type(location.store_id) is str for location in outcome.image.locations)
    assert_holds(house, outcome.image.image_id, DATA, "köln", "東京", "Ähre Süd")
    run(delete_from_store(house.site, outcome.image.image_id, "köln"))
    (house.directory("köln") / outcome.image.image_id).write_bytes(b"in the way")
    with pytest.raises(ImportFailed):
        run(copy_image(house.site, outcome.image.image_id, stores=["köln"], all_stores_must_succeed=False))
    assert house.lists(outcome.image.image_id) == ("", "köln")
    assert_settled(house, outcome.image.image_id, ["köln"])


def test_a_url_is_a_store_id(house: House) -> None:
    """`file:///dir` needs no configuration; the directory of a configured store means that store."""
    elsewhere = f"file://{house.root}/elsewhere"
    image = house.import_(DATA, stores=[elsewhere, f"file://{house.root}/stores/b"]).image
    assert image.stores == ("b", elsewhere)
    assert (house.root / "elsewhere" / image.image_id).read_bytes() == house.object("b", image.image_id) == DATA
    refuse_import(house, stores=["b", f"file://{house.root}/stores/b/"])  # the same store twice
    refuse_import(house, stores=[elsewhere, elsewhere + "/"])
    assert image.status is Status.ACTIVE
    run(delete_from_store(house.site, image.image_id, elsewhere))
    assert_holds(house, image.image_id, DATA, "b")
    assert_settled(house, image.image_id, "b")


@pytest.mark.parametrize("how", ["symbolic link", "URL of a symbolic link", "all stores"])
def test_two_names_of_one_directory_are_refused(open_site: OpenSite, tmp_path: Path, how: str) -> None:
    """Undoing in the one would delete what the other has committed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    stores = {"a": FileStore("a", tmp_path / "real"), "b": FileStore("b", tmp_path / "link")}
    house = open_site({"a": stores["a"]} if how.startswith("URL") else stores)
    options: dict[str, Any] = {"stores": ["a", f"file://{tmp_path}/link" if how.startswith("URL") else "b"]}
    if how == "all stores":
        options = {"all_stores": True}
    with pytest.raises(InvalidRequest, match="one and the same place"):
        run(import_image(house.site, ImportRequest(CountingSource(DATA), disk_format="raw", container_format="bare", **options)))
    assert list((tmp_path / "real").iterdir()) == []
