"""glance_store's file driver, as Glance calls it; a program of its own, run by the Python that has glance_store.

usage: glance_store_add.py THREADS SOURCE DIRECTORY...

Says "ready", waits for a line, adds the source to a store in each directory, and prints the files, their digests and its CPU
seconds as one line of JSON. With more threads than one each takes a store after the other from a queue and reads the source
itself: what Glance's parallel_api_image_import does.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from resource import RUSAGE_SELF, getrusage
from typing import Any

warnings.simplefilter("ignore")  # what the peer's own libraries deprecate
cfg: Any = import_module("oslo_config.cfg")
multi_backend: Any = import_module("glance_store.multi_backend")

IMAGE = "image"


def main() -> None:
    threads, source, directories = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    names = configure(directories)
    print("ready", flush=True)
    sys.stdin.readline()
    before = getrusage(RUSAGE_SELF)
    with ThreadPoolExecutor(threads) as pool:
        digests = list(pool.map(lambda name: add(source, name), names))
    after = getrusage(RUSAGE_SELF)
    files = [os.path.join(directory, IMAGE) for directory in directories]
    cpu = {"user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime}
    print(json.dumps({"files": files, "digests": digests} | cpu), flush=True)
    sys.stdin.readline()  # whoever reads our CPU seconds must not also see us end


def configure(directories: list[str]) -> list[str]:
    """The names of the stores. Everything as it comes, chunks of 64 KiB too, but where the files go."""
    names = [f"s{number}" for number in range(len(directories))]
    cfg.CONF.register_opt(cfg.DictOpt("enabled_backends"))
    cfg.CONF([], default_config_files=[], default_config_dirs=[])
    cfg.CONF.set_override("enabled_backends", dict.fromkeys(names, "file"))
    multi_backend.register_store_opts(cfg.CONF)
    for name, directory in zip(names, directories, strict=True):
        cfg.CONF.set_override("filesystem_store_datadir", directory, group=name)
    cfg.CONF.set_override("default_backend", names[0], group="glance_store")
    multi_backend.create_multi_stores(cfg.CONF)
    return names


def add(source: str, store: str) -> dict[str, str]:
    with open(source, "rb") as file:
        size = os.path.getsize(source)
        _, _, md5, sha512, _ = multi_backend.add_with_multihash(cfg.CONF, IMAGE, file, size, store, "sha512")
    return {"md5": md5, "sha512": sha512}


if __name__ == "__main__":
    main()
