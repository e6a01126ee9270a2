"""What is in a pool's trash, removals that were cut short too: librbd moves an image there first, and leaves those out of its list.

As ``cls_rbd`` has it: ``trash_list`` of Ceph's ``cls_rbd_client.cc``, ``TrashImageSpec`` of its ``cls_rbd_types.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glance_stream.stores.rbd.encoding import decoded, encoded

TRASH = "rbd_trash"
REMOVING = 3  # TRASH_IMAGE_SOURCE_REMOVING
AT_ONCE = 64  # entries asked for
LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Trashed:
    """An image in the trash: its internal id, the name it had, when it was put there, and whether by a removal."""

    id: str
    name: str
    when: float
    removing: bool


def trashed(rados: Any, ioctx: Any) -> Iterator[Trashed]:
    """The bindings' errors."""
    last = ""
    while True:
        try:
            _, answer = ioctx.execute(TRASH, "rbd", "trash_list", encoded(last) + struct.pack("<Q", AT_ONCE), LONGEST_ANSWER)
        except rados.ObjectNotFound:
            return
        found = list(_entries(answer))
        yield from found
        if len(found) < AT_ONCE:
            return
        last = found[-1].id


def _entries(answer: bytes) -> Iterator[Trashed]:
    (count,) = struct.unpack_from("<I", answer)
    at = 4
    for _ in range(count):
        internal, at = decoded(answer, at)
        (length,) = struct.unpack_from("<I", answer, at + 2)  # after two bytes of versions
        at += 6
        name, after = decoded(answer, at + 1)
        (when,) = struct.unpack_from("<I", answer, after)
        yield Trashed(internal, name, float(when), answer[at] == REMOVING)
        at += length
