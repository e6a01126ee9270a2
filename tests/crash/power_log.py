"""Reading the log of ``shim.c``: what a process has done to the files below a directory, one thing after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

HEADER = struct.Struct("=6Q")


class Did(IntEnum):
    """As numbered in shim.c. TOLD: written to standard output."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    SYNC_DIRECTORY = 5
    LINK = 6
    RENAME = 7
    UNLINK = 8
    MKDIR = 9
    RMDIR = 10
    TOLD = 11
    EXTEND = 12


@dataclass(frozen=True)
class Record:
    """``offset``: a size, where the size is what changes."""

    did: Did
    inode: int
    offset: int
    path: str
    other: str
    content: bytes


def read_log(path: Path) -> list[Record]:
    return list(_records(path.read_bytes())) if path.exists() else []


def _records(log: bytes) -> Iterator[Record]:
    """A record that a killed process left unfinished is its last, and of something that it did not come to report."""
    at = 0
    while at + HEADER.size <= len(log):
        did, inode, offset, length, one, two = HEADER.unpack_from(log, at)
        at += HEADER.size
        parts = []
        for size in (one, two, length):
            parts.append(log[at : at + size])
            at += size
        if at > len(log):
            return
        yield Record(Did(did), inode, offset, parts[0].decode(), parts[1].decode(), parts[2])
