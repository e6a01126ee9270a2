"""The Swift store behind a real Keystone, and side by side with glance_store's own Swift driver on one container."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from faults.loop import run
from real_servers import SwiftContainer, SwiftServer
from server_fixtures import own_container
from subject import IMAGE, OTHER, content, put, read_all, read_some, write_all
from swift_subject import SEGMENT_SIZE, segments, store_on, subject_on

from glance_stream.errors import StoreDenied, StoreError, StoreUnavailable
from glance_stream.model import Location
from glance_stream.stores.swift import SwiftStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # python-swiftclient's use of python-keystoneclient

DATA = content(2 * SEGMENT_SIZE + 5)


@pytest.fixture(scope="module")
def shared(swift_v3: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(swift_v3) as container:
        yield container


@pytest.fixture
def container(shared: SwiftContainer) -> Iterator[SwiftContainer]:
    yield shared
    shared.server.empty_container(shared.name)


@pytest.fixture
def store(container: SwiftContainer) -> SwiftStore:
    return store_on(container)


def test_tokens_that_end_in_mid_transfer(container: SwiftContainer, store: SwiftStore) -> None:
    """Bug 1916052: glance_store gives up at the first 401."""
    expire = container.server.expire_tokens

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, None)
        write_all(writer, DATA[:SEGMENT_SIZE])
        expire()
        write_all(writer, DATA[SEGMENT_SIZE:])
        await writer.flush(len(DATA))
        location = await writer.commit(len(DATA), {})
        source = store.open_reader(location)
        source.open()
        read_some(source, 10)
        expire()
        source.reopen(SEGMENT_SIZE - 1)
        assert read_some(source, len(DATA)) == DATA[SEGMENT_SIZE - 1 :]
        source.close()
        await store.delete(location)

    run(scenario())
    assert container.objects() == {}


def test_what_keystone_refuses(container: SwiftContainer) -> None:
    for wrong, expected in (
        ({"key": "geheim4711"}, StoreDenied),
        ({"project": "elsewhere"}, StoreDenied),
        ({"user_domain": "elsewhere"}, StoreDenied),
        ({"region": "elsewhere"}, StoreError),
        ({"service_type": "elsewhere"}, StoreError),
        ({"auth_url": "http://127.0.0.1:9/v3"}, StoreUnavailable),
    ):
        with pytest.raises(expected) as caught:
            run(store_on(container, **wrong).open())
        assert "geheim4711" not in f"{caught.value} {caught.value!r}"


def test_project_and_user_may_be_written_as_glance_store_does(container: SwiftContainer) -> None:
    server = container.server
    store = store_on(container, user=f"{server.project}:{server.user}", project=None, user_domain=None, project_domain=None)
    location = run(put(store, IMAGE, DATA))
    assert read_all(store.open_reader(location)) == DATA


def test_an_application_credential(container: SwiftContainer) -> None:
    credential = application_credential(container)
    store = store_on(
        container,
        user=None,
        key=None,
        project=None,
        user_domain=None,
        project_domain=None,
        application_credential_id=credential["id"],
        application_credential_secret=credential["secret"],
    )
    location = run(put(store, IMAGE, DATA))
    assert read_all(store.open_reader(location)) == DATA
    address = container.server.auth_url.removeprefix("http://")
    assert store.owns(f"swift+http://{address}/{container.name}/{IMAGE}")


def application_credential(container: SwiftContainer) -> dict[str, Any]:
    from swiftclient.client import get_auth

    server = container.server
    options = {"project_name": server.project, "user_domain_name": server.user_domain, "project_domain_name": server.project_domain}
    _, token = get_auth(server.auth_url, server.user, server.key, auth_version="3", os_options=options)
    headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.auth_url}/auth/tokens", headers={**headers, "X-Subject-Token": token}), timeout=20
    ) as response:
        user = json.load(response)["token"]["user"]["id"]
    body = json.dumps({"application_credential": {"name": container.name}}).encode()
    asked = urllib.request.Request(f"{server.auth_url}/users/{user}/application_credentials", body, headers)
    with urllib.request.urlopen(asked, timeout=20) as response:
        return dict(json.load(response)["application_credential"])


def test_without_its_sdk_only_keystone_is_out_of_reach() -> None:
    script = """
import asyncio, sys
sys.modules["keystoneauth1"] = None
from glance_stream.stores.swift import SwiftOptions, SwiftStore
store = SwiftStore("s", SwiftOptions(auth_url="http://127.0.0.1:9/v3", user="a", key="b", project="c"))
asyncio.run(store.open())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "glance-stream[swift]" in done.stderr


# -- glance_store ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def driver(container: SwiftContainer) -> Any:
    """glance_store's own driver on the same container."""
    from glance_store._drivers.swift import store as swift
    from oslo_config import cfg

    server = container.server
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("default_backend")], group="glance_store")
    conf.register_opts(swift.Store.OPTIONS, group="swift1")
    for name, value in {
        "swift_store_auth_address": server.auth_url,
        "swift_store_auth_version": "3",
        "swift_store_user": f"{server.project}:{server.user}",
        "swift_store_key": server.key,
        "swift_store_container": container.name,
        "swift_store_region": server.region,
        "swift_store_large_object_size": 1,
        "swift_store_large_object_chunk_size": 1,
    }.items():
        conf.set_override(name, value, group="swift1")
    conf.set_override("default_backend", "swift1", group="glance_store")
    conf(args=[], default_config_files=[], default_config_dirs=[])
    made = swift.Store(conf, backend="swift1")
    made.configure(re_raise_bsc=True)
    return made


def at(driver: Any, url: str) -> Any:
    from glance_store._drivers.swift.store import StoreLocation
    from glance_store.location import Location as GlanceLocation

    return GlanceLocation("swift1", StoreLocation, driver.conf, uri=url, backend="swift1")


def test_glance_store_reads_sizes_and_deletes_what_we_wrote(container: SwiftContainer, store: SwiftStore, driver: Any) -> None:
    location = at(driver, run(put(store, IMAGE, DATA)).url)
    assert len(segments(container, IMAGE)) == 3
    assert driver.get_size(location) == len(DATA)
    pieces, size = driver.get(location)
    assert (b"".join(pieces), size) == (DATA, len(DATA))
    driver.delete(location)
    assert container.objects() == {}


@pytest.mark.parametrize(("size", "known"), [(5000, True), (1_500_000, False)], ids=["plain", "segments"])
def test_we_read_size_and_delete_what_glance_store_wrote(
    container: SwiftContainer, store: SwiftStore, driver: Any, size: int, known: bool
) -> None:
    """Of a size that is known, glance_store 5.7 announces more than it has for the last segment, and fails after a minute."""
    data = content(size)
    run(put(store, OTHER, b"stays"))
    before = container.objects()
    url = driver.add(IMAGE, BytesIO(data), size if known else 0, "sha512")[0]
    assert container.server.key in url  # the older form, with credentials
    location = Location(url, "swift1")
    assert store.owns(url)
    assert not store.owns(url.replace(container.name, f"{container.name}2"))
    assert not store.owns(url.replace(quote(":"), quote(":x"), 1))
    assert run(store.stat(location)).size == size
    assert read_all(store.open_reader(location)) == data
    assert run(store.find(IMAGE)) is not None
    assert run(store.strays()) == []
    run(store.delete(location))
    assert container.objects() == before


def test_the_driver_leaves_our_unfinished_segments_out_of_its_images(
    container: SwiftContainer, store: SwiftStore, driver: Any
) -> None:
    """Its images take in whatever begins with the image's id and a dash."""
    subject = subject_on(container, store)
    data = content(1_500_000)

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, len(DATA))
        write_all(writer, DATA)
        url = driver.add(IMAGE, BytesIO(data), 0, "sha512")[0]
        assert read_all(store.open_reader(Location(url, "swift1"))) == data
        await writer.abort()
        assert read_all(store.open_reader(Location(url, "swift1"))) == data
        await store.delete(Location(url, "swift1"))

    run(scenario())
    subject.assert_holds()
