"""Peak memory of one whole pass, in a process that does nothing else: ``python -m glance_stream.benchmark.peak SOURCE DIR...``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from glance_stream import loop
from glance_stream.benchmark.measures import transfer_and_delete
from glance_stream.errors import GlanceStreamError
from glance_stream.transfer import Limits


def peak_of_pass(source: Path, directories: Sequence[Path]) -> dict[str, int]:
    """``peak_bytes`` of a fresh interpreter, its own and all libraries' memory included; ``ring_bytes`` of them are the ring."""
    command = [sys.executable, "-m", __name__, str(source), *map(str, directories)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise GlanceStreamError(f"the pass in a process of its own failed: {done.stderr.strip()[-500:]}")
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def main(arguments: Sequence[str]) -> None:
    source, *directories = map(Path, arguments)
    loop.run(transfer_and_delete(source, directories))
    limits = Limits()
    print(json.dumps({"peak_bytes": peak_bytes(), "ring_bytes": limits.slots * limits.slot_size}))


def peak_bytes() -> int:
    """VmHWM and not ru_maxrss: across fork and exec the latter keeps the parent's peak, if that is higher."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise GlanceStreamError("the kernel tells no peak of memory (/proc/self/status)")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
