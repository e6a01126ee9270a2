"""What a user would write in a shell instead: ``cat SOURCE | tee FILE... | sha512sum``.

Timed twice in one run: when the pipeline ends, and when its files are as durable as the pass leaves them. Only the second may be
compared with the pass. The commands are started without a shell, which costs the pipeline nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from glance_stream.benchmark.measures import Bench, Part, require_size, sync_files
from glance_stream.benchmark.stopwatch import Sample, Stopwatch
from glance_stream.errors import GlanceStreamError

# By key: sha512sum is what a script usually has, openssl is faster.
DIGESTS = {
    "sha512sum": ("sha512sum",),
    "openssl": ("openssl", "dgst", "-sha512"),
}


def installed() -> tuple[dict[str, Part], list[str]]:
    """The pipelines whose commands are installed, and a note for each that is not."""
    parts: dict[str, Part] = {}
    notes = []
    for key, command in DIGESTS.items():
        missing = [name for name in ("cat", "tee", command[0]) if shutil.which(name) is None]
        if missing:
            notes.append(f"{', '.join(missing)} not installed: not compared with a pipeline into {' '.join(command)}")
        else:
            parts[key] = _part(key, command)
    return parts, notes


def _part(key: str, command: Sequence[str]) -> Part:
    def part(bench: Bench) -> dict[str, Sample]:
        paths = [place.work / "teed" for place in bench.places]
        watch = Stopwatch()
        digest = tee(bench.source, paths, command)
        cached = watch.read()
        sync_files(paths)
        durable = watch.read()
        bench.agree(digest)
        for path in paths:
            require_size(path, bench.size)
        return {key: cached, f"{key}+fsync": durable}

    return part


def tee(source: Path, paths: Sequence[Path], command: Sequence[str]) -> str:
    """Copy to all paths through ``cat`` and ``tee``; the sha512 that ``command`` prints. Raises GlanceStreamError."""
    return _run([("cat", str(source)), ("tee", *map(str, paths)), command])


def _run(commands: Sequence[Sequence[str]]) -> str:
    """The digest that the last command of the pipeline prints."""
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        processes = _start(commands, errors, stack)
        answer, _ = processes[-1].communicate()
        codes = [process.wait() for process in processes]
        # The last to fail is the cause: those before it die of the broken pipe.
        for command, code in zip(reversed(commands), reversed(codes), strict=True):
            if code != 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                raise GlanceStreamError(f"{command[0]} ended with {code}: {said}")
    found = re.search(rb"\b[0-9a-f]{128}\b", answer)
    if found is None:
        raise GlanceStreamError(f"{' '.join(commands[-1])} printed no digest")
    return found[0].decode()


def _start(commands: Sequence[Sequence[str]], errors: IO[bytes], stack: ExitStack) -> list[subprocess.Popen[bytes]]:
    processes: list[subprocess.Popen[bytes]] = []
    for command in commands:
        before = processes[-1].stdout if processes else None
        process = subprocess.Popen(command, stdin=before or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        stack.callback(_end, process)
        if before is not None:
            before.close()  # the reader has it; ours would keep the writer from noticing that the reader is gone
        processes.append(process)
    return processes


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever interrupted the pipeline."""
    if process.stdout is not None:
        process.stdout.close()
    process.kill()
    process.wait()
