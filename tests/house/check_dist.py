"""What is published: run by ``make dist`` after the build, not by the ordinary test run. The wheel was built from the sdist."""

from __future__ import annotations

import subprocess
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"


@pytest.fixture(scope="module")
def wheel() -> Path:
    (found,) = DIST.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist() -> set[str]:
    (found,) = DIST.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def tracked(*patterns: str) -> set[str]:
    return set(subprocess.check_output(["git", "ls-files", *patterns], cwd=ROOT, text=True).split())


def test_the_wheel_has_every_module_the_core_and_its_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert tracked("glance_stream/*.py", "glance_stream/*.pyi", "glance_stream/py.typed") <= names
    assert any(name.startswith("glance_stream/_chunker.") and name.endswith(".so") for name in names)


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    strange = [name for name in names if not name.startswith(("glance_stream/", "glance_stream-"))]
    assert not strange
    assert not [name for name in names if name.endswith((".c", ".h", ".pyx", ".pxi"))]


def test_the_sdist_builds_and_tests_itself(sdist: set[str]) -> None:
    wanted = tracked("glance_stream", "src", "tests", "bench", "docs", "Makefile", "*.md", "setup.py", "pyproject.toml", "LICENSE")
    assert wanted <= sdist
    assert not [name for name in sdist - wanted if name.endswith((".c", ".so"))]  # nothing that a build has made


def test_an_empty_environment_runs_it(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    subprocess.run([binaries / "python", "-m", "pip", "install", "-q", wheel], check=True, cwd=tmp_path)
    (tmp_path / "image").write_bytes(b"an image" * 100_000)
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([binaries / "glance-stream", "import", "image"], check=True, cwd=tmp_path, env=home)
    listed = subprocess.run(
        [binaries / "glance-stream", "list"], check=True, cwd=tmp_path, env=home, capture_output=True, text=True
    )
    assert "active" in listed.stdout
    compiled = "from glance_stream import chunker; assert chunker.COMPILED"
    subprocess.run([binaries / "python", "-c", compiled], check=True, cwd=tmp_path)
