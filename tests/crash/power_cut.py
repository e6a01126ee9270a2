"""A disk that loses power: what was fsynced is there, what was not is gone, or there in part.

Stricter than most file systems: a name is durable once its directory was fsynced and not before; of unsynced writes any pages of
4 KiB may be there and any not, in any order; of unsynced names any. It takes back only what was never promised. Files that a
process maps to share memory (SQLite's -shm) are not part of it: their owners rebuild them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crash.power_log import Did, Record

PAGE = 4096


@dataclass(eq=False)
class File:
    """``unsynced``: writes (offset, bytes) and sizes (None, size, whether only to grow)."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Write | Size] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.unsynced:
            change.apply(self.durable)
        self.unsynced.clear()

    def after_cut(self, rng: random.Random) -> bytes:
        """Nothing of what is not synced, all of it, or some."""
        content = bytearray(self.durable)
        luck = rng.choice((0.0, 1.0, 0.5, 0.9))
        for change in self.unsynced:
            for piece in change.pieces():
                if rng.random() < luck:
                    piece.apply(content)
        return bytes(content)


@dataclass(frozen=True)
class Write:
    offset: int
    content: bytes

    def apply(self, content: bytearray) -> None:
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.content)] = self.content

    def pieces(self) -> Iterable[Write]:
        at = 0
        while at < len(self.content):
            size = min(len(self.content) - at, PAGE - (self.offset + at) % PAGE)
            yield Write(self.offset + at, self.content[at : at + size])
            at += size


@dataclass(frozen=True)
class Size:
    size: int
    only_grow: bool

    def apply(self, content: bytearray) -> None:
        if len(content) < self.size:
            content.extend(bytes(self.size - len(content)))
        elif not self.only_grow:
            del content[self.size :]

    def pieces(self) -> Iterable[Size]:
        return (self,)


@dataclass(eq=False)
class Directory:
    """``now``: as a process sees it. ``unsynced``: changes of it that no fsync has made durable."""

    durable: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)
    unsynced: list[Change] = field(default_factory=list)


Node = File | Directory


@dataclass(eq=False)
class Change:
    """Names that change together, in one directory or in two: a rename is never half done."""

    number: int
    names: list[tuple[Directory, str, Node | None]]


class Disk:
    """All below ``root``, as it was when the model was made (all of it durable) and as the records change it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[int, File] = {}  # by inode; a new file takes the place of one that is gone
        self._changes = 0
        self._top = self._scan(root)

    def _scan(self, path: Path) -> Directory:
        directory = Directory()
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                directory.now[entry.name] = self._scan(Path(entry.path))
            elif not _is_shared_memory(entry.name):
                file = self._files.setdefault(entry.inode(), File())
                file.durable = bytearray(Path(entry.path).read_bytes())
                directory.now[entry.name] = file
        directory.durable = dict(directory.now)
        return directory

    def apply(self, record: Record) -> None:
        if record.did is Did.TOLD or _is_shared_memory(record.path):
            return
        if record.did in (Did.WRITE, Did.TRUNCATE, Did.EXTEND, Did.SYNC):
            self._apply_to_file(self._files[record.inode], record)
        elif record.did is Did.SYNC_DIRECTORY:
            for change in list(self._directory(record.path).unsynced):
                self._make_durable(change)
        else:
            self._apply_to_names(record)

    def _apply_to_file(self, file: File, record: Record) -> None:
        if record.did is Did.SYNC:
            file.sync()
        elif record.did is Did.WRITE:
            file.unsynced.append(Write(record.offset, record.content))
        else:
            file.unsynced.append(Size(record.offset, record.did is Did.EXTEND))

    def _apply_to_names(self, record: Record) -> None:
        directory, name = self._parent(record.path)
        if record.did is Did.CREATE:
            self._files[record.inode] = File()
            self._change((directory, name, self._files[record.inode]))
        elif record.did is Did.MKDIR:
            self._change((directory, name, Directory()))
        elif record.did in (Did.UNLINK, Did.RMDIR):
            self._change((directory, name, None))
        else:
            there, new = self._parent(record.other)
            node = directory.now[name]
            self._change((there, new, node), *([(directory, name, None)] if record.did is Did.RENAME else []))

    def _change(self, *names: tuple[Directory, str, Node | None]) -> None:
        self._changes += 1
        change = Change(self._changes, list(names))
        for directory, name, node in names:
            _set(directory.now, name, node)
        for directory in dict.fromkeys(directory for directory, _, _ in names):
            directory.unsynced.append(change)

    def _make_durable(self, change: Change) -> None:
        for directory, name, node in change.names:
            _set(directory.durable, name, node)
            if change in directory.unsynced:
                directory.unsynced.remove(change)

    # -- the cut ------------------------------------------------------------------------------------------------------------

    def cut(self, rng: random.Random) -> None:
        """Put on the real disk, in the place of what is there, what this one may hold after a power cut now."""
        chosen = self._survivors(rng)
        shutil.rmtree(self._root)
        self._root.mkdir()
        self._write(self._top, self._root, chosen, rng, {})

    def _survivors(self, rng: random.Random) -> set[Change]:
        """None, all, any, or those up to one: what a journal of the file system gives."""
        changes = sorted({change for each in self._all(self._top, set()) for change in each.unsynced}, key=lambda one: one.number)
        kind = rng.choice(("none", "all", "any", "first"))
        if kind == "any":
            return {change for change in changes if rng.random() < 0.5}
        return set(changes[: {"none": 0, "all": len(changes)}.get(kind, rng.randint(0, len(changes)))])

    def _all(self, directory: Directory, seen: set[Directory]) -> set[Directory]:
        """Also those whose own name may not have survived."""
        if directory not in seen:
            seen.add(directory)
            for node in (*directory.now.values(), *directory.durable.values()):
                if isinstance(node, Directory):
                    self._all(node, seen)
        return seen

    def _write(self, directory: Directory, path: Path, chosen: set[Change], rng: random.Random, written: dict[File, Path]) -> None:
        names = dict(directory.durable)
        for change in directory.unsynced:
            if change in chosen:
                for where, name, node in change.names:
                    if where is directory:
                        _set(names, name, node)
        for name, node in names.items():
            if isinstance(node, Directory):
                (path / name).mkdir()
                self._write(node, path / name, chosen, rng, written)
            elif node in written:
                os.link(written[node], path / name)
            else:
                (path / name).write_bytes(node.after_cut(rng))
                written[node] = path / name

    # -- names --------------------------------------------------------------------------------------------------------------

    def _parent(self, path: str) -> tuple[Directory, str]:
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name

    def _directory(self, path: str) -> Directory:
        directory = self._top
        for name in Path(path).relative_to(self._root).parts:
            found = directory.now[name]
            assert isinstance(found, Directory)
            directory = found
        return directory


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _is_shared_memory(path: str) -> bool:
    return path.endswith("-shm")
