"""The Swift store on Swift and on radosgw: the suite. What Keystone adds is in test_store_swift_keystone.py."""

from __future__ import annotations

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from real_servers import SwiftContainer
from subject import IMAGE, Subject, content
from swift_subject import store_on, subject_on

from glance_stream.model import Location


class TestSwiftStore(StoreConformance):
    @pytest.fixture
    def subject(self, swift_container: SwiftContainer) -> Subject:
        return subject_on(swift_container)


class TestSwiftStoreOnRadosgw(StoreConformance):
    @pytest.fixture
    def subject(self, radosgw_container: SwiftContainer) -> Subject:
        return subject_on(radosgw_container)


class TestReadOnlySwiftStore(ReadOnlyConformance):
    """Of a plain object, as glance_store writes one."""

    @pytest.fixture
    def subject(self, swift_container: SwiftContainer) -> Subject:
        subject = subject_on(swift_container, store_on(swift_container, read_only=True))
        swift_container.write(IMAGE, content(5000))
        subject.stored = (Location(f"swift+config://ref1/{swift_container.name}/{IMAGE}", "swift1"), content(5000))
        return subject
