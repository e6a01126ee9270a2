"""The configuration of a glance_store driver, its capabilities, locations and secrets."""

from __future__ import annotations

import logging
import threading
import traceback
from pathlib import Path

import msgspec
import pytest
from faults.loop import run
from glance_store import location as driver_location
from glance_store._drivers import filesystem
from glance_store_drivers import file_store, install_wayward, wayward_store
from oslo_config import cfg
from subject import IMAGE, content, put, read_all

from glance_stream.config import StoreConfig
from glance_stream.errors import InvalidRequest, StoreError, StoreReadOnly
from glance_stream.model import Location
from glance_stream.stores import Stores, build
from glance_stream.stores.base import Store
from glance_stream.stores.glance_store import GlanceStoreOptions, GlanceStoreStore

KEY = "pa$s/wo%rd@1"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_wayward(tmp_path / "site", monkeypatch)


def built(driver: str, store_id: str = "gs", read_only: bool = False, **options: object) -> Store:
    return build(store_id, StoreConfig(type="glance_store", read_only=read_only, options={"driver": driver, "options": options}))


def test_the_table_builds_one_and_nothing_is_touched(tmp_path: Path) -> None:
    store = built("file", filesystem_store_datadir=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    assert store.where == "a backend of glance_store's driver file"
    run(store.open())
    assert store.where == f"file://{tmp_path / 'new'} of glance_store's driver file"
    run(store.close())


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("nonesuch", {}, "no driver 'nonesuch', only .*file.*wayward"),
        ("broken", {}, "no_such_module_at_all"),
        ("file", {"filesystem_store_datadri": "/x"}, "did you mean 'filesystem_store_datadir'"),
        ("file", {"zzz": 1}, "known: .*filesystem_store_datadir"),
        ("file", {"filesystem_store_chunk_size": "many"}, "filesystem_store_chunk_size"),
        ("file", {"filesystem_store_chunk_size": 0}, "filesystem_store_chunk_size"),
    ],
)
def test_wrong_options_are_bad_requests(driver: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        built(driver, **options)


@pytest.mark.parametrize("store_id", ["DEFAULT", "glance_store", "backend_defaults"])
def test_the_names_of_glance_stores_own_sections_are_refused(store_id: str) -> None:
    with pytest.raises(InvalidRequest, match="choose another"):
        built("wayward", store_id)


def test_an_unknown_option_of_the_store_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="datadir"):
        build("gs", StoreConfig(type="glance_store", options={"driver": "file", "datadir": "/x"}))


def test_options_are_taken_as_they_stand_and_by_their_old_names_too() -> None:
    store, driver = wayward_store(wayward_key=KEY, wayward_old_chunk="17", weight=3, store_description="for $you")
    assert driver.conf["gs"].wayward_key == KEY
    assert driver.conf["gs"].wayward_chunk == 17
    assert store._backend.drivers.option("store_description") == "for $you"


def test_a_section_of_a_parsed_configuration_will_do(tmp_path: Path) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text(f"[fast]\nfilesystem_store_datadir = {tmp_path}/images\nfilesystem_store_chunk_size = 1000\nweight = 5\n")
    conf = cfg.ConfigOpts()
    conf.register_opts(filesystem.Store.OPTIONS + filesystem.Store.MULTI_BACKEND_OPTIONS, group="fast")
    conf(["--config-file", str(file)])
    store = GlanceStoreStore.from_section("fast", "file", conf["fast"])
    location = run(put(store, IMAGE, content(5000)))
    assert location == Location(f"file://{tmp_path}/images/{IMAGE}", "fast")
    assert store._backend.drivers.option("filesystem_store_chunk_size") == 1000


def test_several_directories_are_all_searched(tmp_path: Path) -> None:
    """The driver chooses by priority and room, so an older image may be in any of them."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / IMAGE).write_bytes(b"old")
    store = built("file", filesystem_store_datadirs=[f"{tmp_path}/a:1", f"{tmp_path}/b:2"], filesystem_store_datadir="")
    found = run(store.find(IMAGE))
    assert found == Location(f"file://{tmp_path}/a/{IMAGE}", "gs")
    assert store.owns(f"file://{tmp_path}/b/{IMAGE}")
    assert not store.owns(f"file://{tmp_path}/{IMAGE}")
    (tmp_path / "a" / IMAGE).unlink()
    assert run(put(store, IMAGE, b"new")).url == f"file://{tmp_path}/b/{IMAGE}"


def test_a_driver_that_only_reads_makes_a_read_only_store() -> None:
    store = built("http")
    assert store.traits.read_only
    with pytest.raises(StoreReadOnly):
        store.writer(IMAGE)
    assert store.owns("http://127.0.0.1:9/any/image")
    assert not store.owns("ftp://127.0.0.1/any")
    assert run(store.find(IMAGE)) is None


def test_what_can_not_be_configured_is_an_error_unless_it_is_only_to_be_read() -> None:
    with pytest.raises(StoreError, match="BadStoreConfiguration") as caught:
        run(built("wayward", wayward_does=["misconfigured"], wayward_key=KEY).open())
    assert KEY not in "".join(traceback.format_exception(caught.value))
    run(built("wayward", read_only=True, wayward_does=["misconfigured"]).open())


def test_only_s3_must_know_the_size() -> None:
    assert built("s3").traits.needs_size
    assert not built("s3", s3_store_large_object_size=0).traits.needs_size
    assert not built("file").traits.needs_size


def test_who_shows_complete_objects_only() -> None:
    assert [built(driver).traits.atomic_commit for driver in ("s3", "swift", "file", "wayward")] == [True, True, False, False]


def test_credentials_in_locations_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    """As those of swift without a configuration file, and of s3 before glance_store 5.5."""
    caplog.set_level(logging.DEBUG, "glance_stream")
    store, driver = wayward_store(wayward_prefix="wayward://user:a/b%2Fc@box/in", wayward_key="a/b")
    location = run(put(store, IMAGE, b"abc"))
    assert location.url == f"wayward://box/in/{IMAGE}"
    assert run(store.find(IMAGE)) == location
    assert read_all(store.open_reader(location)) == b"abc"
    old = Location(f"wayward://user:a/b%2Fc@box/in/{IMAGE}", "gs")
    assert store.owns(old.url)
    source = store.open_reader(old)
    assert "user" not in source.name
    assert read_all(source) == b"abc"
    driver.objects.clear()
    with pytest.raises(StoreError) as caught:
        run(store.stat(old))
    shown = [str(caught.value), store.where, store.writer(IMAGE).trace, repr(location), caplog.text]
    assert not any("a/b" in each or "user" in each for each in shown)


def test_secrets_in_an_sdks_words_are_masked() -> None:
    store, driver = wayward_store("fails before reading", wayward_key=KEY)
    for secret in (KEY, "pa%24s/wo%25rd%401", "pa%24s%2Fwo%25rd%401"):
        driver.raises = RuntimeError(f"PUT http://user:{secret}@host/ with {secret} failed")
        with pytest.raises(StoreError) as caught:
            run(put(store, IMAGE, b"abc"))
        assert str(caught.value) == "store 'gs': RuntimeError: PUT http://***@host/ with *** failed"
        assert secret not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_not_in_a_complaint_about_them() -> None:
    with pytest.raises(InvalidRequest) as caught:
        built("wayward", wayward_key={"a": KEY})
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_site_asks_only_the_store_that_a_location_is_in(tmp_path: Path) -> None:
    options = {"driver": "file", "options": {"filesystem_store_datadir": str(tmp_path / "a")}}
    stores = Stores(
        {"gs": StoreConfig(type="glance_store", options=options), "broken": StoreConfig(type="glance_store", options={})}
    )
    assert stores.owners(f"file://{tmp_path}/a/{IMAGE}") == ["gs"]
    assert stores.owners(f"file://{tmp_path}/ab/{IMAGE}") == []


def test_nothing_of_glance_stores_own_state_is_changed(tmp_path: Path) -> None:
    """A Glance service has its own stores in the same process."""
    before = (
        dict(driver_location.SCHEME_TO_CLS_MAP),
        {key: dict(each) for key, each in driver_location.SCHEME_TO_CLS_BACKEND_MAP.items()},
    )
    store = file_store(tmp_path, "mine")
    written = run(put(store, IMAGE, b"abc"))
    assert read_all(store.open_reader(written)) == b"abc"
    assert before == (driver_location.SCHEME_TO_CLS_MAP, driver_location.SCHEME_TO_CLS_BACKEND_MAP)
    assert cfg.CONF["mine"].filesystem_store_datadir != str(tmp_path)


def test_threads_of_the_filesystem_driver_end_with_the_store(tmp_path: Path) -> None:
    store = file_store(tmp_path, filesystem_store_timeout=5)
    location = run(put(store, IMAGE, b"abc"))
    run(store.delete(location))
    pool = store._backend.drivers.get().timeout_executor.executor  # type: ignore[attr-defined]
    threads = list(pool._threads)
    assert threads
    run(store.close())
    run(store.close())
    for each in threads:
        each.join(10)
    assert not any(each in threading.enumerate() for each in threads)


def test_the_options_are_a_struct_that_knows_its_fields() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"options": {}}, GlanceStoreOptions)
