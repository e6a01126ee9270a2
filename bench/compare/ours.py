"""Our pass: what the product does for one image, from the request to the last durable commit."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from compare.ground import Ground
from compare.job import Job, Watch, require
from compare.result import Sample
from glance_stream import loop
from glance_stream.sources import PathSource
from glance_stream.stores.file import FileStore
from glance_stream.transfer import TransferRequest, transfer


def into_stores(count: int, algorithm: str = "sha512", md5: bool = False, source: str = "random", of: str | None = None) -> Job:
    """The pass from a file into ``count`` file stores. ``of``: the source that the stored bytes must equal, if it is another."""
    digests = f"{algorithm} and md5" if md5 else algorithm
    title = f"glance-stream, {count} store{'s' if count > 1 else ''}, {digests}"
    run = partial(run_pass, count=count, algorithm=algorithm, md5=md5, source=source, of=of or source)
    key = f"ours-{count}-{algorithm}{'-md5' if md5 else ''}-{source}"
    return Job(key, title, "ours", "", run, tuple(dict.fromkeys([source, of or source])))


def run_pass(
    ground: Ground,
    count: int,
    algorithm: str,
    md5: bool,
    source: str,
    of: str,
    beside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Sample:
    """``beside``: what goes on in this process while the watch runs."""
    wanted = ground.digest(of, algorithm)
    with beside():
        sample, found = loop.run(_timed(ground, count, algorithm, md5, source))
    require(found, wanted, algorithm)
    size = ground.source(of).stat().st_size
    for store in ground.stores(count):
        require([path.stat().st_size for path in store.iterdir()], [size], f"sizes in {store}")
    return sample


async def _timed(ground: Ground, count: int, algorithm: str, md5: bool, source: str) -> tuple[Sample, str]:
    stores = [FileStore(str(path), path) for path in ground.stores(count)]
    watch = Watch()
    request = TransferRequest(str(uuid.uuid4()), PathSource(ground.source(source)), stores, hash_algo=algorithm, md5=md5)
    done = await transfer(request)
    return watch.read(), done.verified.os_hash_value
