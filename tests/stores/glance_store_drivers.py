"""Stores on glance_store's own filesystem driver, and on a driver of a third party that does wrong when it is told to."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from glance_store import capabilities, driver, exceptions, location
from oslo_config import cfg
from subject import Subject

from glance_stream.model import Location
from glance_stream.stores.glance_store import GlanceStoreOptions, GlanceStoreStore


def file_store(path: Path, store_id: str = "gs", *, read_only: bool = False, **options: Any) -> GlanceStoreStore:
    table = {"filesystem_store_datadir": str(path), **options}
    return GlanceStoreStore.from_options(store_id, GlanceStoreOptions(driver="file", options=table), read_only=read_only)


def files_below(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()} if path.exists() else set()


def file_subject(store: GlanceStoreStore, path: Path) -> Subject:
    """What lies in the directory of a filesystem driver; it never leaves anything beside images."""

    def corrupt(at: Location) -> None:
        file = Path(at.url.removeprefix("file://"))
        file.write_bytes(bytes(file.stat().st_size))

    return Subject(store, lambda: files_below(path), list, corrupt)


class StoreLocation(location.StoreLocation):
    """``wayward://<container>/<image id>``, with a key before an @ where the driver wants one."""

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, ("wayward://",))
        self.uri = uri
        self.name = uri.rpartition("/")[2]

    def get_uri(self) -> str:
        return self.uri


class Wayward(driver.Store):
    """Keeps objects in a dict of its own. ``does`` says what it does wrong; ``may_go_on`` lets a hung call go on."""

    _CAPABILITIES = capabilities.BitMasks.RW_ACCESS | capabilities.BitMasks.DRIVER_REUSABLE
    OPTIONS = (
        cfg.StrOpt("wayward_key", secret=True),
        cfg.StrOpt("wayward_prefix", default="wayward://box"),
        cfg.ListOpt("wayward_does", default=[]),
        cfg.IntOpt("wayward_chunk", default=1000, deprecated_name="wayward_old_chunk"),
    )

    configuring: ClassVar[list[Wayward]] = []  # those that have hung in it

    def __init__(self, conf: Any, backend: str) -> None:
        super().__init__(conf, backend=backend)
        self.objects: dict[str, bytes] = {}
        self.does: set[str] = set(conf[backend].wayward_does)
        self.raises: Exception = RuntimeError("no")
        self.may_go_on = threading.Event()
        self.called = threading.Event()

    def get_schemes(self) -> tuple[str, ...]:
        return ("wayward",)

    def configure_add(self) -> None:
        if "hangs in configure" in self.does:
            Wayward.configuring.append(self)
            self.may_go_on.wait(60)
            self.does.discard("hangs in configure")
        if "misconfigured" in self.does:
            raise exceptions.BadStoreConfiguration(store_name="wayward", reason=f"key {self.conf[self.backend_group].wayward_key}")
        self._url_prefix = self.conf[self.backend_group].wayward_prefix

    def add(
        self, image_id: str, image_file: Any, image_size: int, hashing_algo: str, context: Any = None, verifier: Any = None
    ) -> Any:
        self.called.set()
        if "fails before reading" in self.does:
            raise self.raises
        if "hangs before reading" in self.does:
            self.may_go_on.wait(60)
        if "stops early" in self.does:
            self.objects[image_id] = image_file.read(10)
            return self._added(image_id, b"x" * 10, hashing_algo)
        held = self.objects[image_id] = bytearray()
        chunk = self.conf[self.backend_group].wayward_chunk
        try:
            if "iterates" in self.does:
                for piece in image_file:
                    held += piece
            elif "reads everything" in self.does:
                held += image_file.read()
            elif "never asks for the end" in self.does:
                while len(held) < image_size:
                    held += image_file.read(min(chunk, image_size - len(held)))
            else:
                while piece := image_file.read(chunk):
                    held += piece
        except OSError:
            if "hangs after an error" in self.does:
                self.may_go_on.wait(60)
            if "swallows errors" not in self.does:
                if "leaves parts" not in self.does:
                    del self.objects[image_id]
                raise
        if "fails at the end" in self.does:
            if "leaves parts" not in self.does:
                del self.objects[image_id]
            raise self.raises
        return self._added(image_id, bytes(held), hashing_algo)

    def _added(self, image_id: str, held: bytes, hashing_algo: str) -> Any:
        prefix = "wayward://key:se/cret@elsewhere" if "invents credentials" in self.does else self.url_prefix
        multihash = "00" if "wrong digest" in self.does else hashlib.new(hashing_algo, held).hexdigest()
        if "loses the tail" in self.does:
            self.objects[image_id] = self.objects[image_id][:-1]
        metadata: dict[str, Any] = {"store": self.backend_group}
        if "tells more" in self.does:
            metadata["rack"] = "7"
        if "odd metadata" in self.does:
            metadata["number"] = 1
        written = len(held) + ("wrong size" in self.does)
        return f"{prefix}/{image_id}", written, hashlib.md5(held).hexdigest(), multihash, metadata

    def get(self, location: Any, offset: int = 0, chunk_size: Any = None, context: Any = None) -> Any:
        held = bytes(self._held(location))
        if "hangs in get" in self.does:
            self.may_go_on.wait(60)
        return self._chunks(held), len(held) + ("ends early" in self.does)

    def _chunks(self, held: bytes) -> Iterator[bytes]:
        try:
            for at in range(0, len(held), 999):
                yield held[at : at + 999]
                yield b""
                if "hangs in mid read" in self.does:
                    self.may_go_on.wait(60)
                if "fails in mid read" in self.does:
                    raise self.raises
        finally:
            self.does.discard("is being read")

    def get_size(self, location: Any, context: Any = None) -> int:
        return len(self._held(location))

    def delete(self, location: Any, context: Any = None) -> None:
        if "keeps everything" in self.does:
            raise self.raises
        self._held(location)
        del self.objects[location.store_location.name]

    def _held(self, location: Any) -> bytes:
        try:
            return self.objects[location.store_location.name]
        except KeyError:
            raise exceptions.NotFound(image=location.store_location.name) from None


def install_wayward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip would: by the metadata of a distribution that names the entry point."""
    metadata = folder / "wayward-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wayward\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[glance_store.drivers]\nwayward = glance_store_drivers:Wayward\nbroken = no_such_module_at_all:Store\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])


def wayward_store(*does: str, store_id: str = "gs", read_only: bool = False, **options: Any) -> tuple[GlanceStoreStore, Wayward]:
    """A store and its driver, which must be installed."""
    table = {"wayward_does": list(does), **options}
    store = GlanceStoreStore.from_options(store_id, GlanceStoreOptions(driver="wayward", options=table), read_only=read_only)
    made = store._backend.drivers.get()
    assert isinstance(made, Wayward)
    return store, made
