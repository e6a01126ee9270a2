"""What an attacker may hand to an import, and what has to become of it.

Run as a program it prints the table of what did become of it: hostile_inputs.py DIRECTORY.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

TESTS = Path(__file__).parents[1]
for place in ("inspection", "sources", "decode"):
    if str(TESTS / place) not in sys.path:
        sys.path.append(str(TESTS / place))

from bad_server import Act, BadServer, answer, serve  # noqa: E402
from format_samples import BODY, SAMPLES, mbr, partition, qcow2  # noqa: E402

from glance_stream.catalogue import Catalogue  # noqa: E402
from glance_stream.model import FAILED_IMPORT, IMPORTING_TO_STORES, Status  # noqa: E402

SECONDS = 100


@dataclass(frozen=True)
class Hostile:
    """``source``: a file's content, what a server does, or the words of a source. error: the kind; says: a part of its words."""

    name: str
    source: bytes | Act | str
    error: str
    says: str
    options: Sequence[str] = ()
    exit_code: int = 4


def _format(sample: str, says: str, *options: str) -> Hostile:
    return Hostile(sample, SAMPLES[sample](), "FormatRejected", says, options)


def _inputs() -> list[Hostile]:
    backing = SAMPLES["qcow2, backing file"]()
    packed = gzip.compress(BODY)
    return [
        _format("qcow2, backing file", "backing_file: Image has a backing file"),
        Hostile("the same, said to be raw", backing, "FormatRejected", "backing_file", ("--disk-format", "raw")),
        Hostile("the same in gzip", gzip.compress(backing), "FormatRejected", "backing_file", ("--disk-format", "qcow2")),
        Hostile("the same from a web server", serve(backing), "FormatRejected", "backing_file"),
        _format("qcow2, data file", "data_file"),
        _format("qcow2, unknown feature", "unknown_features"),
        _format("qcow2 v1", "Unsupported qcow2 version"),
        _format("qcow2, absurd size", "says that it is a disk of 18446744073709551615 bytes"),
        _format("qcow2, cut in its header", "the content is raw, and not qcow2", "--disk-format", "qcow2"),
        _format("qcow2 with a partition table in it", "several formats at once: gpt, qcow2"),
        _format("iso in a qcow2", "several formats at once: iso, qcow2"),
        _format("vmdk, monolithicFlat", "Unsupported subformat"),
        _format("vmdk, extent by a path", "Invalid extent filenames"),
        _format("vmdk, descriptor file", "Unsupported subformat", "--disk-format", "raw"),
        _format("vmdk, descriptor file with bytes behind", "inspection failed", "--disk-format", "vmdk"),
        _format("vmdk, footer with another descriptor", "Footer specifies a different descriptor"),
        _format("luks v2", "LUKS version 2"),
        _format("qed", "not allowed", "--disk-format", "raw"),
        Hostile("disk with a partition table that lies", mbr(partition(boot=0x55)) + BODY, "FormatRejected", "invalid boot flag"),
        Hostile(
            "qcow2 said to be vmdk", qcow2(), "FormatRejected", "the content is qcow2, and not vmdk", ("--disk-format", "vmdk")
        ),
        Hostile("nothing at all", b"", "EmptyImage", "has no data"),
        Hostile("gzip in gzip", gzip.compress(gzip.compress(BODY)), "FormatRejected", "gzip"),
        Hostile("gzip, cut", packed[:-9], "DecodeError", "truncated"),
        Hostile("gzip, one bit changed", packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:], "DecodeError", "corrupt"),
        Hostile("gzip, garbage behind", packed + b"garbage" * 9, "DecodeError", "garbage"),
        Hostile("gzip of a million empty members", packed + gzip.compress(b"") * 20_000, "LimitExceeded", "less than 512 bytes"),
        Hostile("zstd bomb", zstandard.compress(bytes(64 << 20)), "LimitExceeded", "1048576 bytes", ("--max-size", "1MiB")),
        Hostile(
            "redirect to the cloud's metadata", answer(302, Location="http://169.254.169.254/"), "SourceError", "local to the link"
        ),
        Hostile("the same address as a number", "http://2852039166/latest", "InvalidRequest", "local to the link", exit_code=2),
        Hostile("redirect to a file", answer(302, Location="file:///etc/passwd"), "SourceError", "redirected, but"),
        Hostile("redirects without end", answer(302, Location="/image"), "SourceError", "more than 5 redirects"),
        Hostile("a body of less than was announced", serve(BODY, stop=9000, etag=None), "SourceError", "broke at byte 9000"),
        Hostile("a coding that was not asked for", serve(BODY, content_encoding="gzip"), "SourceError", "Content-Encoding"),
        Hostile("no end that could be told", serve(BODY, content_length=None), "SourceError", "no Content-Length"),
        Hostile("two lengths", serve(BODY, content_length="300000, 5"), "SourceError", "malformed Content-Length"),
        Hostile("a path that is a directory", "/etc", "InvalidRequest", "directory", exit_code=2),
    ]


INPUTS = _inputs()


@dataclass(frozen=True)
class Outcome:
    """left: whatever is in the stores or the catalogue that was not there before, but for the queued record."""

    exit_code: int
    error: str
    message: str
    left: list[str]


def attack(directory: Path, hostile: Hostile, stores: int) -> Outcome:
    """One import by the real tool into file stores of its own."""
    directory.mkdir(parents=True)
    names = [f"s{number}" for number in range(stores)]
    tables = [f'[stores.{name}]\ntype = "file"\npath = "{directory / name}"\n' for name in names]
    (directory / "site.toml").write_text('[catalogue]\nurl = "sqlite:///catalogue.db"\n' + "\n".join(tables))
    if isinstance(hostile.source, bytes):
        (directory / "image").write_bytes(hostile.source)
        return _import(directory, str(directory / "image"), hostile, names)
    if isinstance(hostile.source, str):
        return _import(directory, hostile.source, hostile, names)
    with BadServer(hostile.source) as server:
        return _import(directory, server.url, hostile, names)


def _import(directory: Path, source: str, hostile: Hostile, names: Sequence[str]) -> Outcome:
    command = [sys.executable, "-m", "glance_stream", "--config", directory / "site.toml"]
    done = subprocess.run(
        [*command, "import", source, "--all-stores", "--json", *hostile.options], capture_output=True, timeout=SECONDS, check=False
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.stderr == b"", done.stderr
    error = result.get("error") or {"error": "none", "message": ""}
    return Outcome(done.returncode, error["error"], error["message"], [*_left(directory, names), *map(str, result["leftovers"])])


def _left(directory: Path, names: Sequence[str]) -> list[str]:
    left = [f"{name}/{file}" for name in names if (directory / name).exists() for file in os.listdir(directory / name)]
    with Catalogue(f"sqlite:///{directory}/catalogue.db") as catalogue:
        for image in catalogue.list_images():
            lists = (image.properties.get(name) for name in (IMPORTING_TO_STORES, FAILED_IMPORT))
            if image.status is not Status.QUEUED or image.locations or image.size or any(lists):
                left.append(repr(image))
            if catalogue.holder(image.image_id) is not None:
                left.append(f"the lock of {image.image_id}")
        left += map(repr, catalogue.leftovers())
    return left


def main(directory: Path, say: Callable[[str], object] = print) -> None:
    say("| input | verdict | into 1 store | into 3 stores | left behind |")
    say("|---|---|---|---|---|")
    for number, hostile in enumerate(INPUTS):
        one, three = (attack(directory / f"{number}-{stores}", hostile, stores) for stores in (1, 3))
        assert (one.error, one.exit_code) == (three.error, three.exit_code)
        ends = " | ".join(f"{outcome.error}, {outcome.exit_code}" for outcome in (one, three))
        message = re.sub(r"http://127\.0\.0\.1:\d+", "http://server", one.message.replace(str(directory / f"{number}-1"), ""))
        say(f"| {hostile.name} | {message} | {ends} | {_words(one, three)} |")


def _words(*outcomes: Outcome) -> str:
    return "; ".join(thing for outcome in outcomes for thing in outcome.left) or "nothing"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
