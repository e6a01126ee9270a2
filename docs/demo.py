"""The first run: a configuration with three file stores, an image, an import into all of them, and a verification.

Usage: demo.py GLANCE_STREAM WORK_DIRECTORY [IMAGE]
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

CONFIGURATION = """\
default_store = "fast"

[catalogue]
url = "sqlite:///catalogue.db"

[stores.fast]
type = "file"
path = "stores/fast"

[stores.cheap]
type = "file"
path = "stores/cheap"

[stores.far]
type = "file"
path = "stores/far"
"""


def make_image(path: Path) -> None:
    """64 MiB that look like a disk: text, noise, and zeros in between; compressed, as images are published."""
    noise = random.Random(1)
    with gzip.open(path, "wb", compresslevel=1) as image:
        for number in range(64):
            image.write(noise.randbytes(1 << 18) + b"glance_stream %06d\n" % number * 20_000 + bytes(1 << 18))


def main(program: str, work: str, image: str | None = None) -> int:
    directory = Path(work)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "site.toml").write_text(CONFIGURATION)
    if image is None:
        image = str(directory / "image.raw.gz")
        make_image(Path(image))
    command = [program, "--config", str(directory / "site.toml")]
    name = f"demo-{os.getpid()}"  # names need not be unique, but two of one name are asked about
    for arguments in (["import", image, "--all-stores", "--name", name], ["verify", name], ["list"]):
        print("$", *command, *arguments, flush=True)
        done = subprocess.run([*command, *arguments], check=False)
        if done.returncode:
            return done.returncode
    print(f"\nThe stores are directories in {directory}/stores; '{program} --help' tells the rest.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
