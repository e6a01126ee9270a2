"""The suite on glance_store's filesystem driver, which writes in place, and on a driver that has a URL of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance import ReadOnlyConformance, StoreConformance
from glance_store_drivers import file_store, file_subject, install_wayward, wayward_store
from subject import IMAGE, Subject, content

from glance_stream.model import Location


class TestFilesystemDriver(StoreConformance):
    @pytest.fixture(params=["gs", "Bär/β 1"], ids=["plain", "strange id"])
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
        return file_subject(file_store(tmp_path / "images", request.param), tmp_path / "images")


class TestReadOnlyFilesystemDriver(ReadOnlyConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        (tmp_path / IMAGE).write_bytes(content(200_000))
        subject = file_subject(file_store(tmp_path, read_only=True), tmp_path)
        subject.stored = (Location(f"file://{tmp_path}/{IMAGE}", "gs"), content(200_000))
        return subject


class TestForeignDriver(StoreConformance):
    @pytest.fixture(params=["wayward://box", "wayward://key:se/cret@box/in"], ids=["open", "credentials"])
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
        install_wayward(tmp_path, monkeypatch)
        store, driver = wayward_store(wayward_prefix=request.param)

        def corrupt(location: Location) -> None:
            name = location.url.rpartition("/")[2]
            driver.objects[name] = bytes(len(driver.objects[name]))

        return Subject(store, lambda: set(driver.objects), list, corrupt)
