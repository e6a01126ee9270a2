"""What is in an RBD pool, by Ceph's own libraries, in a process of its own: they abort it now and then, after many clients.

argv: the cluster's configuration, the pool, and an image to be read. Without an image it prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

from glance_stream.stores.rbd.bindings import load


def main(conf: str, pool: str, image: str = "") -> None:
    rados, rbd = load("test")
    client = rados.Rados(conffile=conf)
    client.connect()
    with client.open_ioctx(pool) as ioctx:
        if image:
            with rbd.Image(ioctx, image, snapshot="snap", read_only=True) as opened:
                sys.stdout.buffer.write(opened.read(0, opened.size()))
        else:
            print(json.dumps(_look(rbd, ioctx)))
    sys.stdout.flush()
    os._exit(0)  # all is told; what remains is the libraries' own end


def _look(rbd: Any, ioctx: Any) -> dict[str, Any]:
    ids = {each["name"]: each["id"] for each in rbd.RBD().list2(ioctx)}
    sizes, watchers = {}, []
    for name in ids:
        with suppress(rbd.ImageNotFound), rbd.Image(ioctx, name, read_only=True) as image:
            watchers += [each["addr"] for each in image.watchers_list()]
        with suppress(rbd.ImageNotFound), rbd.Image(ioctx, name, snapshot="snap", read_only=True) as image:
            if image.is_protected_snap("snap"):
                sizes[name] = image.size()
    trash = [each["name"] for each in rbd.RBD().trash_list(ioctx)]
    return {
        "ids": ids,
        "sizes": sizes,
        "watchers": watchers,
        "trash": trash,
        "keys": sorted(each.key for each in ioctx.list_objects()),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
