"""Real images through the tool into three stores, compared byte for byte with what the reference tools give."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_site import COMPRESSORS, INITRD, Site, run

Compress = Callable[[str, str], Path]


def sha512sum(path: Path) -> str:
    return run(["sha512sum", path]).split()[0].decode()


def assert_everywhere(site: Site, result: dict[str, Any], original: Path) -> None:
    assert result["status"] == "active"
    assert result["size"] == original.stat().st_size
    assert result["os_hash_value"] == sha512sum(original)
    assert sorted(result["stores"]) == ["one", "three", "two"]
    assert result["failed"] == {}
    assert site.files() == sorted(store / result["image_id"] for store in site.stores.values())
    for path in site.files():
        subprocess.run(["cmp", path, original], check=True)


@pytest.mark.parametrize("name", ["iso", "initrd", "raw", "qcow2"])
@pytest.mark.parametrize("thin", [[], ["--thin"]], ids=["full", "thin"])
def test_an_image_as_it_is(site: Site, images: dict[str, Path], name: str, thin: list[str]) -> None:
    code, result = site.tool("import", images[name], "--all-stores", *thin)
    assert code == 0
    assert_everywhere(site, result, images[name])


@pytest.mark.parametrize("format", COMPRESSORS)
@pytest.mark.parametrize("way", ["path", "stdin", "http"])
def test_an_image_compressed_each_way_and_from_everywhere(
    site: Site, images: dict[str, Path], compressed: Compress, web: str, format: str, way: str
) -> None:
    name = "iso" if format in ("xz", "bz2") else "raw"  # these two are slow to pack
    packed = compressed(name, format)
    digest = f"sha512:{sha512sum(packed)}"
    options = ("--all-stores", "--expect-compressed", digest, "--expect", f"sha512:{sha512sum(images[name])}")
    if way == "path":
        code, result = site.tool("import", packed, *options)
    elif way == "http":
        code, result = site.tool("import", f"{web}/{packed.name}", *options)
    else:
        with packed.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat:
            code, result = site.tool("import", "-", *options, stdin=cat.stdout)
    assert code == 0
    assert_everywhere(site, result, images[name])


def test_a_published_gz_against_zcat(site: Site, images: dict[str, Path]) -> None:
    code, result = site.tool("import", INITRD, "--all-stores")
    assert code == 0
    assert_everywhere(site, result, images["initrd"])


def test_container_format_compressed_is_stored_as_it_is(site: Site) -> None:
    code, result = site.tool("import", INITRD, "--all-stores", "--container-format", "compressed")
    assert code == 0
    assert_everywhere(site, result, INITRD)


def test_qemu_reads_what_was_stored(site: Site, images: dict[str, Path]) -> None:
    _, result = site.tool("import", images["qcow2"], "--store", "one", "--disk-format", "qcow2")
    run(["qemu-img", "check", "-f", "qcow2", site.stores["one"] / result["image_id"]])
    run(["qemu-img", "compare", "-F", "raw", "-f", "qcow2", site.stores["one"] / result["image_id"], images["raw"]])


def test_thin_takes_no_more_disk_than_the_original(site: Site, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.raw"
    noise = random.Random(7)
    with sparse.open("wb") as disk:
        disk.truncate(256 << 20)
        for offset in (0, 64 << 20, (200 << 20) + 4096):
            disk.seek(offset)
            disk.write(noise.randbytes(1 << 20))
    code, result = site.tool("import", sparse, "--all-stores", "--thin")
    assert code == 0
    assert_everywhere(site, result, sparse)
    assert all(path.stat().st_blocks * 512 <= (3 << 20) + 4 * (64 << 10) for path in site.files())


def test_copied_damaged_verified_deleted(site: Site, images: dict[str, Path]) -> None:
    _, result = site.tool("import", images["raw"], "--store", "one", "--md5")
    image_id = result["image_id"]
    assert result["checksum"] == run(["md5sum", images["raw"]]).split()[0].decode()

    code, result = site.tool("copy", image_id, "--all-stores")
    assert code == 0
    assert_everywhere(site, result, images["raw"])
    assert site.tool("verify", image_id)[0] == 0

    with (site.stores["two"] / image_id).open("r+b") as damaged:
        damaged.seek((9 << 20) + 5)
        byte = damaged.read(1)[0]
        damaged.seek((9 << 20) + 5)
        damaged.write(bytes([byte ^ 1]))
    code, result = site.tool("verify", image_id)
    assert code == 7
    assert {one["store"]: (one["verdict"], one["ranges"]) for one in result["checked"]} == {
        "one": ("good", []),
        "two": ("damaged", [[8 << 20, 4 << 20]]),
        "three": ("good", []),
    }
    assert site.tool("delete", image_id, "--store", "two")[0] == 0
    assert site.tool("copy", image_id, "--to", "two")[0] == 0
    assert site.tool("verify", image_id)[0] == 0
    assert site.tool("delete", image_id)[0] == 0
    assert site.files() == []
