"""A site of three file stores in a directory, looked at from outside: what it must be like after whatever went wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from glance_stream.catalogue import Catalogue
from glance_stream.model import Image

STORES = ("one", "two", "three")
IMAGE_ID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
# Three slots, the last of them not a whole number of blocks: direct I/O and its unaligned tail are both on the way.
BYTES = bytes(range(1, 251)) * 601
CONFIG = """\
default_store = "one"
[catalogue]
url = "sqlite:///catalogue.db"
[transfer]
slot_size = "64 KiB"
"""
STORE = '[stores.{0}]\ntype = "file"\npath = "{0}"\n'

IMPORT = ("import", "image.raw", "--id", IMAGE_ID, "--all-stores", "--json")
COPY = ("copy", IMAGE_ID, "--all-stores", "--json")
RECOVER = ("recover", "--json")


def with_config(command: tuple[str, ...]) -> tuple[str, ...]:
    return ("--config", "site.toml", *command)


class Home:
    """The directory of one run. ``active``: the image is in store one already."""

    def __init__(self, directory: Path, *, active: bool = False) -> None:
        self.directory = directory
        self.active = active

    @classmethod
    def make(cls, directory: Path) -> Home:
        """A new one, with a catalogue that has the image on record, queued."""
        directory.mkdir(parents=True)
        (directory / "site.toml").write_text(CONFIG + "".join(map(STORE.format, STORES)))
        (directory / "image.raw").write_bytes(BYTES)
        for store in STORES:
            (directory / store).mkdir()
        home = cls(directory)
        with home.catalogue() as catalogue:
            catalogue.create_image(IMAGE_ID, name=None, disk_format="raw", container_format="bare")
        return home

    def copied_to(self, directory: Path, active: bool = False) -> Home:
        """The same in another place. Locations are absolute: with ``active`` they are made to fit."""
        shutil.copytree(self.directory, directory)
        if active:
            connection = sqlite3.connect(directory / "catalogue.db")
            with connection:
                connection.execute("update image_locations set url = replace(url, ?, ?)", (str(self.directory), str(directory)))
            connection.close()
        return Home(directory, active=active)

    def catalogue(self) -> Catalogue:
        return Catalogue(f"sqlite:///{self.directory / 'catalogue.db'}")

    def path(self, store: str) -> Path:
        return self.directory / store / IMAGE_ID

    def files(self) -> list[str]:
        """Everything in the stores, hidden files too, as store/name."""
        stores = [store for store in STORES if (self.directory / store).is_dir()]
        return sorted(f"{store}/{name}" for store in stores for name in os.listdir(self.directory / store))

    def assert_as_before(self) -> None:
        """The image in its earlier state, the lock free, nothing left in any store and nothing on record that might be."""
        self._assert_state(["one"] if self.active else [], leftovers=0)
        assert self.files() == ([f"one/{IMAGE_ID}"] if self.active else [])

    def assert_done(self, stores: tuple[str, ...] = STORES) -> None:
        """Active in these stores, each with all bytes, and nothing else anywhere."""
        self._assert_state(sorted(stores), leftovers=0)
        assert self.files() == sorted(f"{store}/{IMAGE_ID}" for store in stores)
        for store in stores:
            assert self.path(store).read_bytes() == BYTES

    def assert_whole(self) -> None:
        """One of the two: never half of it."""
        with self.catalogue() as catalogue:
            stores = catalogue.get_image(IMAGE_ID).stores
        if len(stores) == len(STORES):
            self.assert_done()
        else:
            self.assert_as_before()

    def assert_left(self) -> None:
        """Back in its earlier state but for leftovers, each of them on record, and nothing else."""
        with self.catalogue() as catalogue:
            recorded = {one.leftover.trace for one in catalogue.leftovers()}
        self._assert_state(["one"] if self.active else [], leftovers=len(recorded))
        found = {f"file://{self.directory / name}" for name in self.files()}
        if self.active:
            found.remove(f"file://{self.path('one')}")
        assert found <= recorded
        assert recorded

    def _assert_state(self, stores: list[str], leftovers: int) -> None:
        with self.catalogue() as catalogue:
            image = catalogue.get_image(IMAGE_ID)
            assert sorted(image.stores) == stores
            assert str(image.status) == ("active" if stores else "queued")
            assert (image.size is None) == (not stores)
            self._assert_lists(image)
            assert catalogue.holder(IMAGE_ID) is None
            assert catalogue.interrupted() == []
            assert len(catalogue.leftovers()) == leftovers

    @staticmethod
    def _assert_lists(image: Image) -> None:
        assert image.properties.get("os_glance_importing_to_stores", "") == ""
        failed = set(filter(None, image.properties.get("os_glance_failed_import", "").split(",")))
        assert failed <= set(STORES) - set(image.stores)
