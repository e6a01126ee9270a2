"""A real file system's content, compressed, into three file stores: decoded and hashed while it is written."""

from __future__ import annotations

from dataclasses import replace

from compare.floor import of_floor
from compare.ground import Ground
from compare.job import Job
from compare.ours import into_stores
from compare.parts.decoding import decoding
from compare.parts.digest import digest
from compare.parts.reading import reading
from compare.parts.writers import writers
from compare.workload import Workload

LARGEST = 1 << 30  # there are not many more files of every kind on a machine, and gzip takes half a minute for these


def ground_of(ground: Ground) -> Ground:
    return ground.sized(min(ground.size, LARGEST))


def workloads() -> list[Workload]:
    return [_compressed("gzip", "fs.gz"), _compressed("zstd", "fs.zst")]


def _compressed(format: str, source: str) -> Workload:
    parts = [reading(source), decoding(format, source, "fs"), digest("sha512"), *writers(3, "fs")]
    title = f"{format} of a file system's content into 3 file stores, sha512"
    return Workload(format, title, [unpacked(format, source, 3), *parts], of_floor(0.90), ground=ground_of, notes=[NOTE])


def unpacked(format: str, source: str, stores: int) -> Job:
    """Our pass from the compressed source into so many stores."""
    return replace(into_stores(stores, source=source, of="fs"), title=f"glance-stream, {stores} stores, sha512, {format} decoded")


NOTE = "MB/s are of decoded bytes. Reading, decoding, hashing and each store's writing have a thread each."
