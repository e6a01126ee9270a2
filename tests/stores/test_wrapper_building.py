"""What a store is wrapped in, from the configuration's words to the order of the wrappers."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.loop import run

from glance_stream.config import ByteSize, Config, StoreConfig, TransferConfig, load
from glance_stream.errors import InvalidRequest
from glance_stream.importing.site import Site
from glance_stream.stores import Stores, build
from glance_stream.stores.base import Store
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.stores.wrappers import wrapping
from glance_stream.stores.wrappers.bandwidth import PacedStore
from glance_stream.stores.wrappers.retrying import RetryingStore
from glance_stream.stores.wrappers.time_limits import TimeLimitedStore, TimeLimits
from glance_stream.stores.wrappers.token_bucket import shared
from glance_stream.stores.wrappers.wrapper import StoreWrapper

MIB = ByteSize(1 << 20)


def layers(store: Store) -> list[type[Store]]:
    """From the outside in."""
    found = [type(store)]
    while isinstance(store, StoreWrapper):
        store = store.inner
        found.append(type(store))
    return found


def layer(store: Store, kind: type[Store]) -> Store:
    while not isinstance(store, kind):
        assert isinstance(store, StoreWrapper)
        store = store.inner
    return store


def memory(transfer: TransferConfig | None = None, **fields: object) -> Store:
    return build("mem", StoreConfig(type="memory", **fields), transfer)  # type: ignore[arg-type]


def test_where_nothing_is_configured_a_store_is_itself(tmp_path: Path) -> None:
    assert layers(build("files", StoreConfig(type="file", options={"path": str(tmp_path)}))) == [FileStore]
    assert layers(memory(TransferConfig())) == [MemoryStore]


def test_waiting_for_the_pace_is_outermost_and_the_time_limit_is_of_one_try() -> None:
    store = memory(bandwidth=MIB, retries=2, open_timeout=1.0)
    assert layers(store) == [PacedStore, RetryingStore, TimeLimitedStore, MemoryStore]
    assert (store.store_id, store.type) == ("mem", "memory")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"bandwidth": MIB}, PacedStore),
        ({"retries": 1}, RetryingStore),
        ({"open_timeout": 1.0}, TimeLimitedStore),
        ({"call_timeout": 1.0}, TimeLimitedStore),
        ({"progress_timeout": 1.0}, TimeLimitedStore),
    ],
)
def test_each_wrapper_is_there_when_it_is_wanted_by_a_store_or_by_all(fields: dict[str, object], kind: type[Store]) -> None:
    assert layers(memory(**fields)) == [kind, MemoryStore]
    assert layers(memory(TransferConfig(**fields))) == [kind, MemoryStore]  # type: ignore[arg-type]


def test_a_stores_own_word_comes_first() -> None:
    common = TransferConfig(open_timeout=1, call_timeout=2, progress_timeout=3, retries=7, retry_budget=70)
    store = memory(common, call_timeout=20.0, retries=3)
    limited, retrying = layer(store, TimeLimitedStore), layer(store, RetryingStore)
    assert limited._limits == TimeLimits(open=1, call=20, progress=3)  # type: ignore[attr-defined]
    assert (retrying._policy.tries, retrying._policy.budget) == (4, 70)  # type: ignore[attr-defined]
    assert layers(memory(TransferConfig(retries=7), retries=0)) == [MemoryStore]


def test_stores_over_a_network_are_asked_again_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"s3", "swift", "rbd", "glance_store"} == wrapping.RETRIED_TYPES
    monkeypatch.setattr(wrapping, "RETRIED_TYPES", {"memory"})
    store = memory(retry_budget=5.0)
    assert layers(store) == [RetryingStore, MemoryStore]
    assert (store._policy.tries, store._policy.budget) == (5, 5)  # type: ignore[attr-defined]
    assert layers(memory(retries=0)) == [MemoryStore]


def test_all_stores_share_the_limit_of_the_process_and_each_has_its_own() -> None:
    common = TransferConfig(bandwidth=ByteSize(7 * MIB))
    settings = {name: StoreConfig(type="memory", bandwidth=MIB) for name in "ab"}
    one, two = (Stores(settings, transfer=common) for _ in range(2))
    limits = [store._pace._limits for store in (one["a"], one["b"], two["a"])]  # type: ignore[attr-defined]
    assert len({own for own, _ in limits}) == 3
    assert {every for _, every in limits} == {shared(7 * MIB)}
    run(one.close())


def test_a_bandwidth_by_which_a_store_would_pass_for_hung_is_refused() -> None:
    slow = TransferConfig(slot_size=ByteSize(4 << 20), store_timeout=8)
    assert layers(memory(slow, bandwidth=MIB)) == [PacedStore, MemoryStore]
    with pytest.raises(InvalidRequest, match="at least 1048576"):
        memory(slow, bandwidth=ByteSize(MIB - 1))
    with pytest.raises(InvalidRequest, match="mem"):
        memory(TransferConfig(slot_size=ByteSize(4 << 20), store_timeout=8, bandwidth=ByteSize(1)))


# -- the words --------------------------------------------------------------------------------------------------------------

WORDS = """
[catalogue]
url = "sqlite:///catalogue.db"
[transfer]
bandwidth = "200 MiB"
retries = 2
open_timeout = 10
[stores.files]
type = "file"
path = "images"
bandwidth = "50 MB"
retries = 0
retry_budget = 30
open_timeout = 1
call_timeout = 2.5
progress_timeout = 60
"""


def configured(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file)


def test_the_words_are_read_and_not_given_to_the_stores_own_options(tmp_path: Path) -> None:
    config = configured(tmp_path, WORDS)
    files = config.stores["files"]
    assert (config.transfer.bandwidth, config.transfer.retries, config.transfer.open_timeout) == (200 * MIB, 2, 10)
    assert (files.bandwidth, files.retries, files.retry_budget) == (50_000_000, 0, 30)
    assert (files.open_timeout, files.call_timeout, files.progress_timeout) == (1, 2.5, 60)
    assert files.options == {"path": str(tmp_path / "images")}


def test_a_site_wraps_its_stores(tmp_path: Path) -> None:
    site = Site.open(configured(tmp_path, WORDS))
    store = site.store("files")
    assert layers(store) == [PacedStore, TimeLimitedStore, FileStore]
    assert shared(200 * MIB) in store._pace._limits  # type: ignore[attr-defined]
    assert layers(site.store(f"file://{tmp_path}/others")) == [PacedStore, RetryingStore, TimeLimitedStore, FileStore]
    run(site.close())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retries", "-1"),
        ("retries", "1.5"),
        ("retry_budget", "0"),
        ("bandwidth", '"fast"'),
        ("bandwidth", "0"),
        ("open_timeout", "0"),
        ("call_timeout", "-1"),
        ("progress_timeout", '"soon"'),
    ],
)
def test_a_wrong_word_is_named(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"stores\.a\.{key}: "):
        configured(tmp_path, f'[stores.a]\ntype = "memory"\n{key} = {value}\n')
    with pytest.raises(InvalidRequest, match=rf"transfer\.{key}: "):
        configured(tmp_path, f"[transfer]\n{key} = {value}\n")
