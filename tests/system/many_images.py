"""Many small images through one process, and what that process holds after each hundred of them.

    python many_images.py DIRECTORY COUNT WARM_UP [fd | thread | memory]

The last word makes it leak on purpose: one of these with each image.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

from glance_stream import config, loop
from glance_stream.importing import ImportRequest, Site, copy_image, delete_image, import_image
from glance_stream.sources.path import PathSource

SIZE = 64 << 10
LEAKED: list[Any] = []
NEVER = threading.Event()

CONFIG = """
default_store = "one"
[catalogue]
url = "sqlite:///{0}/catalogue.db"
[stores.one]
type = "file"
path = "{0}/one"
[stores.two]
type = "file"
path = "{0}/two"
[stores.three]
type = "file"
path = "{0}/three"
"""


def leak(kind: str) -> None:
    if kind == "fd":
        LEAKED.append(os.open(os.devnull, os.O_RDONLY))
    elif kind == "thread":
        threading.Thread(target=NEVER.wait, daemon=True).start()
    elif kind == "memory":
        LEAKED.append(bytearray(b"\1" * (16 * SIZE)))


def held() -> dict[str, int]:
    """Open descriptors, threads, and resident memory in KiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "memory": pages * resource.getpagesize() >> 10,
    }


async def one(site: Site, number: int, source: Path) -> None:
    """Into all stores, or into one and copied from there; every tenth stays."""
    if number % 4:
        outcome = await import_image(site, ImportRequest(PathSource(source), all_stores=True))
    else:
        outcome = await import_image(site, ImportRequest(PathSource(source), stores=["one"]))
        outcome = await copy_image(site, outcome.image.image_id, all_stores=True)
    assert len(outcome.image.stores) == 3
    if number % 10:
        await delete_image(site, outcome.image.image_id)


async def main(directory: Path, count: int, warm_up: int, leaking: str) -> None:
    text = directory / "site.toml"
    text.write_text(CONFIG.format(directory))
    site = Site.open(config.load(text))
    source = directory / "image.raw"
    for number in range(1, count + 1):
        source.write_bytes(number.to_bytes(4, "little") * (SIZE // 4))
        await one(site, number, source)
        leak(leaking)
        if number >= warm_up and number % warm_up == 0:
            print(json.dumps({"images": number, **held()}), flush=True)
    await site.close()


if __name__ == "__main__":
    loop.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:])))
