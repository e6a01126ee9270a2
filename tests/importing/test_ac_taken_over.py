"""Who has lost the image, or is late with it, harms nothing that others have made of it since. Two hosts on one catalogue."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from concurrent_hosts import DATA, PATIENCE, Host
from cutting_proxy import LATE, CuttingProxy
from importing_words import assert_holds, run
from real_servers import RealDatabase

from glance_stream.catalogue import engine, servers
from glance_stream.errors import CatalogueUnavailable, ImportFailed, InvalidRequest, LockLost, RecordInDoubt, StoreUnavailable
from glance_stream.importing import recover
from glance_stream.model import Status
from glance_stream.retry import RetryPolicy


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    pair = Host(tmp_path, f"sqlite:///{tmp_path}/catalogue.db"), Host(tmp_path, f"sqlite:///{tmp_path}/catalogue.db")
    yield pair
    for host in pair:
        host.catalogue.close()


def before(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str, happens: Callable[[], object], error: Exception | None = None
) -> None:
    """As if the host stood still before this call on its catalogue, once: ``happens`` goes on elsewhere meanwhile."""
    real: Callable[..., Any] = getattr(host.catalogue, name)

    def call(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(host.catalogue, name, real)
        happens()
        if error is not None:
            raise error
        return real(*given, **named)

    monkeypatch.setattr(host.catalogue, name, call)


def expire(host: Host, image_id: str) -> None:
    """As if the holder had been silent for as long as its lease."""
    holder = host.catalogue.holder(image_id)
    assert holder is not None
    host.catalogue.renew(holder, idle=host.catalogue.lease + 1)


def test_a_record_that_another_has_made_meanwhile_is_not_withdrawn(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were given the same new id, and both have seen that it has no record."""
    late, quick = hosts
    image_id = str(uuid.uuid4())
    before(late, monkeypatch, "create_and_begin", lambda: quick.import_(DATA, image_id=image_id, stores=["a"]))
    with pytest.raises(InvalidRequest, match="active"):
        late.import_(DATA, image_id=image_id, disk_format="raw", stores=["b"])
    assert_holds(quick, image_id, DATA, "a")


def test_a_success_whose_record_was_not_answered_and_that_was_taken_over_is_none(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    late, taker = hosts
    image = late.queued()

    def take_over() -> None:
        expire(taker, image.image_id)
        assert run(recover(taker.site)).images == (image.image_id,)

    before(late, monkeypatch, "record_success", take_over, CatalogueUnavailable("no answer"))
    with pytest.raises(RecordInDoubt):
        late.import_(DATA, image_id=image.image_id, stores=["a"])
    assert taker.image(image.image_id).status is Status.QUEUED
    assert taker.files() == []


@pytest.mark.parametrize("must", [True, False])
def test_a_commit_that_is_still_under_way_is_waited_for(
    tmp_path: Path, database: RealDatabase, monkeypatch: pytest.MonkeyPatch, must: bool
) -> None:
    """Given up by the client, and about to take effect on the server: what it makes active must keep its data."""
    place = urlsplit(database.url)
    assert place.hostname
    assert place.port
    for limit in ("LOCK_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(servers, limit, 1)
    monkeypatch.setattr(engine, "RETRIES", RetryPolicy(tries=3, base=0.01))
    with CuttingProxy(place.hostname, place.port) as proxy:
        host = Host(tmp_path, database.url.replace(f":{place.port}/", f":{proxy.port}/"))
        image = host.queued()
        before(host, monkeypatch, "record_success" if must else "add_location", lambda: proxy.cut_next(LATE))
        with pytest.raises(RecordInDoubt):
            host.import_(DATA, image_id=image.image_id, stores=["a"], all_stores_must_succeed=must)
        assert host.object("a", image.image_id) == DATA
        proxy.release.set()
        deadline = time.monotonic() + PATIENCE
        while host.image(image.image_id).status is not Status.ACTIVE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run(recover(host.site))
        assert host.object("a", image.image_id) == DATA
        host.catalogue.close()


@pytest.mark.parametrize("must", [True, False])
def test_what_another_has_adopted_is_not_undone(hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch, must: bool) -> None:
    """The taker could not remove the object, found it to be the very image, and made it so."""
    late, taker = hosts
    image = late.queued()

    def take_over() -> None:
        expire(taker, image.image_id)
        taker.faulty("a").faults["delete"] = StoreUnavailable("a", "not now")
        run(recover(taker.site, image.image_id))
        taker.faulty("a").faults.clear()
        taker.import_(DATA, image_id=image.image_id, stores=["a"])

    before(late, monkeypatch, "record_success" if must else "add_location", take_over)
    with pytest.raises((LockLost, ImportFailed)):
        late.import_(DATA, image_id=image.image_id, stores=["a"], all_stores_must_succeed=must)
    assert_holds(taker, image.image_id, DATA, "a")
    run(recover(taker.site))
    assert_holds(taker, image.image_id, DATA, "a")
