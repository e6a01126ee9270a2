"""A process that imports an image into an RBD store until it is killed: argv is the options as JSON, the image's id, and how far.

Says on stdout, a line each: its trace, then "ready". Then waits for a line on stdin, and commits.
"""

from __future__ import annotations

import asyncio
import json
import sys

from glance_stream.stores.rbd import RbdOptions, RbdStore


async def main(options: str, image_id: str, stage: str) -> None:
    store = RbdStore("child", RbdOptions(**json.loads(options)))
    writer = store.writer(image_id)
    print(writer.trace, flush=True)
    await writer.open(None)
    writer.write(memoryview(b"x" * (3 << 20)))
    if stage == "written":
        print("ready", flush=True)
        await asyncio.sleep(100)
    await writer.flush(3 << 20)
    print("ready", flush=True)
    sys.stdin.readline()
    print((await writer.commit(3 << 20, {})).url, flush=True)
    await asyncio.sleep(100)


asyncio.run(main(*sys.argv[1:]))
