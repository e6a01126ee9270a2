"""Real images, the real tool as a process of its own, and the reference tools to compare with."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_site import COMPRESSORS, GRUB_ISO, INITRD, TOOLS, Site, run


def _needed() -> list[str]:
    missing = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return missing + [str(path) for path in (GRUB_ISO, INITRD) if not path.exists()]


@pytest.fixture(scope="session", autouse=True)
def needed() -> None:
    if missing := _needed():
        pytest.skip(f"needs {', '.join(missing)}: run 'make tools' as root")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, needed: None) -> dict[str, Path]:
    """A bootable ISO, an initrd, a raw disk with a file system of real files, the same as qcow2: all as they are used."""
    directory = tmp_path_factory.mktemp("images")
    raw, qcow2, initrd = directory / "disk.raw", directory / "disk.qcow2", directory / "initrd"
    tree = directory / "tree"
    shutil.copytree(sysconfig.get_path("stdlib"), tree, ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"))
    with raw.open("wb") as disk:
        disk.truncate(96 << 20)
    run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, raw])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2])
    initrd.write_bytes(run(["gzip", "-dc", INITRD]))
    return {"iso": GRUB_ISO, "initrd": initrd, "raw": raw, "qcow2": qcow2}


@pytest.fixture(scope="session")
def compressed(images: dict[str, Path]) -> Callable[[str, str], Path]:
    @functools.cache
    def compress(image: str, format: str) -> Path:
        target = images["raw"].with_name(f"{image}.{format}")
        with images[image].open("rb") as source, target.open("wb") as sink:
            subprocess.run(COMPRESSORS[format], stdin=source, stdout=sink, check=True)
        return target

    return compress


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def web(images: dict[str, Path]) -> Iterator[str]:
    """A plain local web server over the images' directory."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(images["raw"].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
