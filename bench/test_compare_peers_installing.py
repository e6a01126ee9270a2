"""The peers' environment is made once, and what goes wrong is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from compare.peers import installing
from compare.peers.installing import NotInstalled, install, installed

WANTED = "wanted.txt"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of requirement files, in place of the real one."""
    monkeypatch.setattr(installing, "HERE", tmp_path)
    (tmp_path / WANTED).write_text("thing==1\n")
    return tmp_path


def environment(path: Path, script: str) -> Path:
    """A virtual environment whose Python is a shell script."""
    (path / "bin").mkdir(parents=True)
    python = path / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return path


def test_it_is_installed_once_and_again_when_the_pins_change(here: Path) -> None:
    venv = environment(here / "venv", f'echo "$@" >>{here}/calls')
    for _ in range(2):
        assert install(WANTED, venv) == venv / "bin"
        assert len((here / "calls").read_text().splitlines()) == 1
    assert str(here / WANTED) in (here / "calls").read_text()
    (here / WANTED).write_text("thing==2\n")
    assert not installed(WANTED, venv)
    install(WANTED, venv)
    assert len((here / "calls").read_text().splitlines()) == 2


def test_who_is_offline_is_told_in_one_line_and_may_try_again(here: Path) -> None:
    said = "WARNING: Retrying\nERROR: No matching distribution found for thing==1\n[notice] a new pip is there"
    venv = environment(here / "venv", f"printf '%s' '{said}' >&2; exit 1")
    with pytest.raises(NotInstalled, match=r"^ERROR: No matching distribution found for thing==1$"):
        install(WANTED, venv)
    assert not installed(WANTED, venv)


def test_no_room_for_an_environment_is_a_reason_too(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(NotInstalled, match="File exists"):
        install(WANTED, here / "file" / "venv")


def test_a_reason_is_found_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = environment(here / "venv", f"echo >>{here}/calls; echo Error: no >&2; exit 1")
    monkeypatch.setattr(installing.install, "__defaults__", (venv,))
    installing.missing.cache_clear()
    assert [installing.missing(WANTED), installing.missing(WANTED)] == ["Error: no", "Error: no"]
    installing.missing.cache_clear()
    assert len((here / "calls").read_text().splitlines()) == 1
