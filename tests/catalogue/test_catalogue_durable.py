"""A new catalogue is where it was put, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glance_stream.catalogue import Catalogue


def test_the_directories_made_for_it_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in the one above it. SQLite itself syncs the directory of its files, and no other."""
    fsync, synced = os.fsync, []

    def note(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    with Catalogue(f"sqlite:///{tmp_path}/state/of/catalogue.db"):
        assert synced == [str(tmp_path), str(tmp_path / "state")]
    with Catalogue(f"sqlite:///{tmp_path}/state/of/catalogue.db"):
        assert len(synced) == 2
