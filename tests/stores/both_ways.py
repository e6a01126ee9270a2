"""What our store writes glance_store's driver serves and deletes, and the other way round. A system joins with one fixture::

    class TestThatSystem(BothWays):
        @pytest.fixture
        def system(self, ...):
            return System(our_store, file_store_of_glance(...), everything_there)

glance_store's side is its own driver, called as Glance calls it; our adapter only configures it. What is left in the end the
system's own client says.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from faults.loop import run
from glance_store import exceptions
from glance_store.location import Location as DriverLocation
from subject import IMAGE, OTHER, content, drain_all, put, read_all

from glance_stream.errors import Duplicate, NotFound, StoreError
from glance_stream.model import Location
from glance_stream.stores.base import Store
from glance_stream.stores.glance_store import GlanceStoreOptions, GlanceStoreStore

SEVERAL = (10 << 20) + 5  # three parts, segments or objects, and an uneven end


def glance_stores(driver: str, store_id: str = "gs", **options: Any) -> GlanceStoreStore:
    """A store on a driver of glance_store, which the tests take out of it."""
    return GlanceStoreStore.from_options(store_id, GlanceStoreOptions(driver=driver, options=options))


class Unseekable(io.RawIOBase):
    """An image as Glance has it: to be read once, of a size that is not told."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


@dataclass
class System:
    """``ours``: our own store; ``adapter``: a store on glance_store's driver; both in one place of a real system.

    ``everything``: whatever is in that place. ``several``: a size of several parts that glance_store can write if it knows it.
    """

    ours: Store
    adapter: GlanceStoreStore
    everything: Callable[[], Iterable[str]]
    several: int = SEVERAL

    @property
    def driver(self) -> Any:
        return self.adapter._backend.drivers.get()

    def located(self, url: str) -> Any:
        """As Glance makes it of a record."""
        driver = self.driver
        scheme = url.partition("://")[0]
        return DriverLocation(scheme, driver.get_store_location_class(), driver.conf, uri=url, backend=self.adapter.store_id)

    def glance_reads(self, url: str) -> bytes:
        chunks, size = self.driver.get(self.located(url))
        data = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        assert int(size) == len(data)
        return data

    def glance_writes(self, image_id: str, data: bytes, size: int) -> str:
        url, written, checksum, multihash, _ = self.driver.add(image_id, Unseekable(data), size, hashing_algo="sha512")
        assert (written, checksum) == (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
        assert multihash == hashlib.sha512(data).hexdigest()
        return str(url)

    def we_write(self, image_id: str, data: bytes, *, size_known: bool, thin: bool) -> Location:
        async def scenario() -> Location:
            writer = await self.ours.open_writer(image_id, len(data) if size_known else None, thin=thin)
            try:
                drain_all(writer, data)
                await writer.flush(len(data))
                return await writer.commit(len(data), {})
            finally:
                await writer.abort()

        return run(scenario())


class EachServesTheOthers:
    """Full bytes are compared in both directions, and after the deletion nothing is left."""

    @pytest.fixture
    def system(self) -> System:
        raise NotImplementedError

    @pytest.mark.parametrize(
        ("size", "size_known", "thin"),
        [(SEVERAL, True, True), (SEVERAL, False, False)],
        ids=["several, known, thin", "several, unknown"],
    )
    def test_glance_store_serves_and_deletes_what_we_wrote(self, system: System, size: int, size_known: bool, thin: bool) -> None:
        data = content(size)
        location = system.we_write(IMAGE, data, size_known=size_known, thin=thin)
        assert system.adapter.owns(location.url)
        assert system.driver.get_size(system.located(location.url)) == size
        assert system.glance_reads(location.url) == data
        assert read_all(system.adapter.open_reader(location)) == data
        system.driver.delete(system.located(location.url))
        assert list(system.everything()) == []
        with pytest.raises(NotFound):
            run(system.ours.stat(location))

    @pytest.mark.parametrize(
        ("size", "size_known"),
        [(SEVERAL, True), (SEVERAL, False)],
        ids=["several, known", "several, unknown"],
    )
    def test_we_serve_verify_and_delete_what_glance_store_wrote(self, system: System, size: int, size_known: bool) -> None:
        size = system.several if size == SEVERAL and size_known else size
        data = content(size)
        url = system.glance_writes(IMAGE, data, size if size_known else 0)
        location = Location(url, system.ours.store_id)
        assert system.ours.owns(url)
        assert run(system.ours.find(IMAGE)) == location
        assert run(system.ours.stat(location)).size == size
        assert hashlib.sha512(read_all(system.ours.open_reader(location))).digest() == hashlib.sha512(data).digest()
        run(system.ours.delete(location))
        assert list(system.everything()) == []
        with pytest.raises(exceptions.NotFound):
            system.glance_reads(url)


class BothWays(EachServesTheOthers):
    """Beside that: they know each other's objects, and our adapter is a third that does."""

    def test_we_go_on_in_the_middle_of_what_glance_store_wrote(self, system: System) -> None:
        data = content(SEVERAL)
        source = system.ours.open_reader(Location(system.glance_writes(IMAGE, data, 0), system.ours.store_id))
        try:
            source.open()
            for offset in (7 << 20, 1, SEVERAL - 1):
                source.reopen(offset)
                buffer = memoryview(bytearray(100_000))
                count = source.readinto(buffer)
                assert count > 0
                assert bytes(buffer[:count]) == data[offset : offset + count]
        finally:
            source.close()

    @pytest.mark.parametrize("size", [1, 70_001])
    def test_both_write_one_location(self, system: System, size: int) -> None:
        """What is recorded of an image does not tell who wrote it; of small ones, which may lie in another way than large ones."""
        data = content(size)
        ours = system.we_write(IMAGE, data, size_known=size == 1, thin=False)
        assert system.driver.get_size(system.located(ours.url)) == size
        assert system.glance_reads(ours.url) == data
        system.driver.delete(system.located(ours.url))
        assert list(system.everything()) == []
        assert system.glance_writes(IMAGE, data, size) == ours.url
        assert read_all(system.ours.open_reader(ours)) == data
        run(system.ours.delete(ours))
        assert list(system.everything()) == []

    def test_our_writer_sees_glance_stores_object(self, system: System) -> None:
        system.glance_writes(IMAGE, b"theirs", 6)
        with pytest.raises(Duplicate):
            run(put(system.ours, IMAGE, b"ours"))
        with pytest.raises(Duplicate):
            run(put(system.adapter, IMAGE, b"ours"))
        assert read_all(system.ours.open_reader(run(system.ours.find(IMAGE)))) == b"theirs"

    def test_the_adapter_writes_what_our_store_reads_and_deletes(self, system: System) -> None:
        data = content(SEVERAL)
        location = run(put(system.adapter, IMAGE, data))
        ours = Location(location.url, system.ours.store_id)
        assert run(system.ours.find(IMAGE)) == ours
        assert read_all(system.ours.open_reader(ours)) == data
        run(system.ours.delete(ours))
        assert list(system.everything()) == []
        with pytest.raises(NotFound):
            run(system.adapter.stat(location))

    def test_the_adapter_deletes_what_our_store_wrote_and_nothing_else(self, system: System) -> None:
        kept = run(put(system.ours, OTHER, b"kept"))
        location = run(put(system.ours, IMAGE, content(SEVERAL)))
        run(system.adapter.delete(Location(location.url, system.adapter.store_id)))
        assert read_all(system.ours.open_reader(kept)) == b"kept"
        run(system.ours.delete(kept))
        assert list(system.everything()) == []

    def test_the_adapters_abort_leaves_nothing(self, system: System) -> None:
        """After an abort of one that the driver was told the size of, and of a small one."""

        async def scenario() -> None:
            writer = await system.adapter.open_writer(IMAGE, 70_001)
            drain_all(writer, content(60_000))
            await writer.abort()
            with pytest.raises(StoreError):
                await writer.flush(60_000)

        run(scenario())
        assert list(system.everything()) == []
        assert run(system.ours.find(IMAGE)) is None
