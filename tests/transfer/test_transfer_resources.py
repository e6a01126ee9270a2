"""What transfers cost: memory that does not grow with the image, few threads, no descriptor left."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from faults.loop import run
from faults.source import FaultySource
from stage import DATA, SLOT, Stage

from glance_stream.model import Location
from glance_stream.sources.path import PathSource
from glance_stream.stores.base import Writer
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer import Limits, TransferRequest, transfer

MIB = 1 << 20


class NullWriter(Writer):
    """Keeps nothing."""

    trace = "null://"

    async def open(self, size_hint: int | None, *, thin: bool = False) -> None:
        pass

    def write(self, view: memoryview) -> None:
        pass

    async def flush(self, size: int) -> None:
        pass

    async def commit(self, size: int, digests: Mapping[str, str]) -> Location:
        return Location("null://image", "null")

    async def published(self) -> Location | None:
        return None

    async def abort(self) -> None:
        pass


class NullStore(MemoryStore):
    def writer(self, image_id: str) -> Writer:
        return NullWriter()


def resident_peak() -> int:
    """Bytes, since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def test_memory_is_the_ring_however_large_the_image(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 256 * MIB)
    stores = [NullStore(f"null{number}") for number in range(3)]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_peak()
    request = TransferRequest("image", PathSource(image), stores, limits=Limits(slots=4, slot_size=MIB))
    assert run(transfer(request)).verified.size == 256 * MIB
    assert resident_peak() - before < 24 * MIB


def test_many_small_transfers_reuse_their_threads(tmp_path: Path) -> None:
    files = FileStore("files", tmp_path / "store")
    (tmp_path / "image").write_bytes(DATA[:SLOT])
    threads: list[int] = []
    descriptors: list[int] = []

    async def scenario() -> None:
        for number in range(300):
            source = PathSource(tmp_path / "image")
            limits = Limits(slots=2, slot_size=SLOT)
            await transfer(TransferRequest(f"image-{number}", source, [files, MemoryStore("memory")], limits=limits))
            threads.append(threading.active_count())
            descriptors.append(len(os.listdir("/proc/self/fd")))

    run(scenario())
    assert max(threads[10:]) <= threads[10] + 2
    assert descriptors[-1] <= descriptors[10]
    assert len(list(files.path.iterdir())) == 300


def test_transfers_side_by_side() -> None:
    stages = [Stage(2) for _ in range(20)]

    async def scenario() -> None:
        await asyncio.gather(*(stage.transfer(FaultySource(DATA)) for stage in stages))

    run(scenario())
    for stage in stages:
        stage.assert_only("s0", "s1")
