"""The fastest plain writers that Linux has, to several files on one disk at once, durable at the end.

They are alternatives: the faster one of a run sets the floor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from compare.ground import Ground
from compare.job import Job, Watch, part, require
from compare.result import Sample

BLOCK = 4 << 20
DEPTH = 4  # blocks in flight in one file


def writers(count: int, source: str = "random") -> list[Job]:
    """Of the whole source into ``count`` files."""
    files = f"{count} file{'s' if count > 1 else ''}"
    by_dd = partial(run_dd, count=count, source=source)
    by_fio = partial(run_fio, count=count, source=source)
    return [
        part(f"dd-{count}-{source}", f"dd oflag=direct bs=4M, {files} at once", "store", by_dd, source),
        Job(f"fio-{count}-{source}", f"fio --direct=1, {files} at once", "part", "store", by_fio, (source,), without_fio),
    ]


def without_fio() -> str | None:
    return None if shutil.which("fio") else "fio is not installed (apt-get install fio): dd alone stands for the fastest writer"


def run_dd(ground: Ground, count: int, source: str) -> Sample:
    """One dd for each file, reading the source from the page cache."""
    targets = [store / "image" for store in ground.stores(count)]
    path = ground.source(source)
    flags = ["oflag=direct"] if takes_direct(targets[0].parent) else []
    watch = Watch()
    copies = [
        subprocess.Popen(["dd", f"if={path}", f"of={target}", f"bs={BLOCK}", *flags, "conv=fsync", "status=none"])
        for target in targets
    ]
    codes = [copy.wait() for copy in copies]
    sample = watch.read()
    require(codes, [0] * count, "how dd ended")
    require_sizes(targets, path.stat().st_size)
    return sample


def run_fio(ground: Ground, count: int, source: str) -> Sample:
    """fio writes bytes of its own. Its start takes half a second, so the times are those that it tells itself, fsync included."""
    size = ground.source(source).stat().st_size
    command = fio([store / "image" for store in ground.stores(count)], size)
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ground.work()).stdout)["jobs"]
    require([job["write"]["io_bytes"] for job in told], [size] * count, "bytes that fio wrote")
    times = [max(1, job["write"]["runtime"]) / 1000 for job in told]
    user, system = (
        sum(job[f"{kind}_cpu"] / 100 * seconds for job, seconds in zip(told, times, strict=True)) for kind in ("usr", "sys")
    )
    return Sample(max(times), user, system)


def fio(targets: Sequence[Path], size: int) -> list[str]:
    """What stands before the first --name is for all files."""
    direct = int(takes_direct(targets[0].parent))
    block = min(BLOCK, size)
    each = [text for target in targets for text in (f"--name={target.parent.name}", f"--filename={target}")]
    how = [f"--bs={block}", f"--direct={direct}", "--ioengine=libaio", f"--iodepth={DEPTH}", "--end_fsync=1"]
    return ["fio", "--output-format=json", "--thread", "--rw=write", f"--size={size}", *how, *each]


def takes_direct(directory: Path) -> bool:
    """Whether the file system takes O_DIRECT."""
    probe = directory / "probe"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_DIRECT | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def require_sizes(paths: list[Path], size: int) -> None:
    require([path.stat().st_size for path in paths], [size] * len(paths), "sizes")
