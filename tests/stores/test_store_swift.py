"""The Swift store on Swift and on radosgw: the suite. What Keystone adds is in test_store_swift_keystone.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from real_servers import SwiftContainer, SwiftServer
from server_fixtures import own_container
from subject import IMAGE, Subject, content
from swift_subject import store_on, subject_on

from glance_stream.model import Location


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[SwiftContainer]:
    """One container for all tests on a server: making and deleting them would take longer than the tests."""
    server: SwiftServer = request.getfixturevalue(request.param)
    with own_container(server) as container:
        yield container


@pytest.fixture
def empty(shared: SwiftContainer) -> Iterator[SwiftContainer]:
    yield shared
    shared.server.empty_container(shared.name)


@pytest.mark.parametrize("shared", ["swift", "radosgw_swift"], indirect=True)
class TestSwiftStore(StoreConformance):
    @pytest.fixture
    def subject(self, empty: SwiftContainer) -> Subject:
        return subject_on(empty)


@pytest.mark.parametrize("shared", ["swift"], indirect=True)
class TestReadOnlySwiftStore(ReadOnlyConformance):
    """Of a plain object, as glance_store writes one."""

    @pytest.fixture
    def subject(self, empty: SwiftContainer) -> Subject:
        subject = subject_on(empty, store_on(empty, read_only=True))
        empty.write(IMAGE, content(5000))
        subject.stored = (Location(f"swift+config://ref1/{empty.name}/{IMAGE}", "swift1"), content(5000))
        return subject
