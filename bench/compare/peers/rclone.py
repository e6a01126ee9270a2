"""rclone into a union of three directories with ``create_policy = all``.

What it verifies was seen by tracing it (1.75.2): ``copyto`` reads the source once, computes md5 of it and of the streams that it
writes, and then compares the source's with that of the first upstream; nothing is read back. ``check`` and ``copyto
--checksum`` on the union read the first upstream again and never the others: a changed byte in the second goes unnoticed. To verify
every copy one has to check each directory, which reads the source once more each time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from compare.ground import Ground
from compare.job import Job
from compare.peers import installing
from compare.peers.peer import SOURCE, STORES, Copied, Copy, peer, targets

REQUIREMENTS = "rclone-requirements.txt"


def jobs() -> list[Job]:
    return [
        peer("rclone", "rclone union of 3, md5 while copying", partial(union, check=False), unavailable),
        peer("rclone-check", "rclone union of 3, each copy checked", partial(union, check=True), unavailable),
    ]


def unavailable() -> str | None:
    reason = installing.missing(REQUIREMENTS)
    return f"not compared with rclone: {reason}" if reason else None


@contextmanager
def union(ground: Ground, check: bool) -> Iterator[Copy]:
    program = installing.VENV / "bin" / "rclone"
    source = ground.source(SOURCE)
    config = ground.work() / "rclone.conf"
    config.write_text(configuration(ground.stores(STORES)))

    def rclone(*arguments: str | Path) -> None:
        subprocess.run([program, "--config", config, "--quiet", *arguments], check=True)

    def copy() -> Copied:
        rclone("copyto", source, f"all:{source.name}")
        if check:
            for store in ground.stores(STORES):
                rclone("check", "--one-way", source.parent, store, "--include", f"/{source.name}")
        return Copied(targets(ground, source.name))

    yield copy


def configuration(stores: list[Path]) -> str:
    upstreams = " ".join(f'"{store}"' for store in stores)
    return f"[all]\ntype = union\nupstreams = {upstreams}\ncreate_policy = all\naction_policy = all\n"
