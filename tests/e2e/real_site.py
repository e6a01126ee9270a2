"""A site of three file stores, used through the command line only, and the reference tools."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

GRUB_ISO = Path("/usr/lib/grub-rescue/grub-rescue-cdrom.iso")
INITRD = Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz")
TOOLS = ("gzip", "zstd", "xz", "bzip2", "lz4", "zip", "mke2fs", "qemu-img", "sha512sum", "cmp")

SITE = """\
default_store = "one"
[catalogue]
url = "sqlite:///catalogue.db"
[stores.one]
type = "file"
path = "one"
[stores.two]
type = "file"
path = "two"
[stores.three]
type = "file"
path = "three"
"""

# How each reference tool compresses standard input to standard output.
COMPRESSORS = {
    "gzip": ["gzip", "-1"],
    "zstd": ["zstd", "-q", "-3", "--check"],
    "xz": ["xz", "-0"],
    "bz2": ["bzip2", "-1"],
    "lz4": ["lz4", "-q", "-1"],
    "zip": ["zip", "-q", "-1", "-", "-"],
}


def run(command: list[str | Path]) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


class Site:
    """Three file stores and a catalogue in a directory, used through the command line only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stores = {name: directory / name for name in ("one", "two", "three")}
        (directory / "site.toml").write_text(SITE)

    def tool(self, *arguments: object, stdin: Any = subprocess.DEVNULL) -> tuple[int, dict[str, Any]]:
        """The exit code and the result event."""
        command = [sys.executable, "-m", "glance_stream", "--config", self.directory / "site.toml", *map(str, arguments), "--json"]
        done = subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, timeout=100, check=False)
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["event"] == "result"
        return done.returncode, result

    def files(self) -> list[Path]:
        """Everything in the stores, hidden files too."""
        return sorted(path for store in self.stores.values() if store.exists() for path in store.iterdir())
