"""A raw image that is in the page cache into file stores on one disk."""

from __future__ import annotations

from compare.floor import of_floor
from compare.ours import into_stores
from compare.parts.digest import digest
from compare.parts.reading import reading
from compare.parts.writers import writers
from compare.workload import Workload


def workloads() -> list[Workload]:
    return [
        _raw("raw1", 1, "sha512", False, 0.95),
        _raw("raw3", 3, "sha512", False, 0.90),
        _raw("raw3-md5", 3, "sha512", True, 0.90),
        _raw("raw3-sha256", 3, "sha256", False, 0.90),
    ]


def _raw(key: str, stores: int, algorithm: str, md5: bool, wanted: float) -> Workload:
    digests = [algorithm, "md5"] if md5 else [algorithm]
    parts = [reading(), *map(digest, digests), *writers(stores)]
    title = f"raw image into {stores} file store{'s' if stores > 1 else ''}, {' and '.join(digests)}"
    return Workload(key, title, [into_stores(stores, algorithm, md5), *parts], of_floor(wanted))
