"""Our Swift store and glance_store's in one container, behind a real Keystone: glance_store 5.7 knows no other authentication."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from both_ways import BothWays, System, glance_stores
from faults.loop import run
from real_servers import SwiftContainer, SwiftServer
from server_fixtures import own_container
from subject import IMAGE, content, drain_all, put, read_all
from swift_subject import store_on

# glance_store and swiftclient use much that keystoneclient and keystoneauth1 call old.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MEGABYTE = 1000 << 10  # as glance_store's swift driver counts


@pytest.fixture(scope="module")
def shared(swift_v3: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(swift_v3) as container:
        yield container


@pytest.fixture
def swift_v3_container(shared: SwiftContainer) -> Iterator[SwiftContainer]:
    yield shared
    shared.server.empty_container(shared.name)


def options_of(container: SwiftContainer) -> dict[str, Any]:
    server = container.server
    return {
        "swift_store_container": container.name,
        "swift_store_region": server.region,
        "swift_store_auth_version": "3",
        "swift_store_large_object_size": 1,
        "swift_store_large_object_chunk_size": 5,
    }


def reference_file(container: SwiftContainer, folder: Path) -> str:
    server = container.server
    file = folder / "glance-swift.conf"
    file.write_text(
        f"[ref1]\nuser = {server.project}:{server.user}\nkey = {server.key}\nauth_address = {server.auth_url}\n"
        f"project_domain_name = {server.project_domain}\nuser_domain_name = {server.user_domain}\n"
    )
    return str(file)


class TestSwift(BothWays):
    @pytest.fixture
    def system(self, swift_v3_container: SwiftContainer, tmp_path: Path) -> Iterator[System]:
        ours = store_on(swift_v3_container, segment_size=5 * MEGABYTE, read_timeout=30)
        adapter = glance_stores(
            "swift", swift_store_config_file=reference_file(swift_v3_container, tmp_path), **options_of(swift_v3_container)
        )
        yield System(ours, adapter, swift_v3_container.objects, several=10 * MEGABYTE)  # the last segment is full: see _swift_size
        run(ours.close())


def test_credentials_of_the_configuration_are_in_no_location(swift_v3_container: SwiftContainer) -> None:
    """Without a file of references the driver writes user and key into every location."""
    server = swift_v3_container.server
    store = glance_stores(
        "swift",
        **options_of(swift_v3_container),
        swift_store_auth_address=server.auth_url,
        swift_store_user=f"{server.project}:{server.user}",
        swift_store_key=server.key,
    )
    location = run(put(store, IMAGE, content(70_001)))
    assert "@" not in location.url
    assert server.key not in location.url
    assert run(store.find(IMAGE)) == location
    assert run(store.stat(location)).size == 70_001
    assert read_all(store.open_reader(location)) == content(70_001)
    run(store.delete(location))
    assert list(swift_v3_container.objects()) == []


def test_an_abort_between_segments_shows_no_image(swift_v3_container: SwiftContainer, tmp_path: Path) -> None:
    """The driver forgets segments whose successor it could not read: a defect of glance_store that nobody can mend from here."""
    store = glance_stores(
        "swift", swift_store_config_file=reference_file(swift_v3_container, tmp_path), **options_of(swift_v3_container)
    )

    async def scenario() -> None:
        writer = await store.open_writer(IMAGE, 12 * MEGABYTE)
        drain_all(writer, content(11 * MEGABYTE))
        await writer.abort()

    run(scenario())
    assert IMAGE not in swift_v3_container.objects()
    assert run(store.find(IMAGE)) is None
