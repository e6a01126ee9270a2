"""The start: quick, lazy, and with help that teaches."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import glance_stream
from glance_stream import errors
from glance_stream.cli import group
from glance_stream.cli.sizes import iec

COMMANDS = ("import", "copy", "verify", "delete", "list", "show", "stores", "check", "recover", "bench")
HEAVY = ("sqlalchemy", "rich", "urllib3", "zstandard", "uvloop", "glance_stream._chunker", "glance_stream.chunker")

HELP = f"""
import contextlib, io, sys
from glance_stream.cli import main
for command in ([], *([name] for name in {COMMANDS!r})):
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        try:
            main([*command, "--help"])
        except SystemExit as end:
            assert end.code == 0
    assert "Examples:" in told.getvalue(), command
    assert "  glance-stream " + " ".join(command) in told.getvalue(), command
    assert "Exit codes:" in told.getvalue(), command
    if command in (["list"], ["show"], ["recover"]):
        assert "the catalogue can't be reached" in told.getvalue(), command
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, (command, loaded)
"""


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_of_every_command_teaches_and_loads_nothing_heavy() -> None:
    python(HELP)


def test_every_command_is_there_and_knows_json() -> None:
    assert set(group.commands) == set(COMMANDS)
    for command in group.commands.values():
        assert "--json" in [name for parameter in command.params for name in parameter.opts]


def test_version() -> None:
    told = python("from glance_stream.cli import main; main(['--version'])")
    assert told.strip().endswith(version("glance-stream"))


def test_the_package_is_lazy_and_gives_its_names() -> None:
    assert python(
        "import sys, glance_stream; before = len([m for m in sys.modules if m.startswith('glance_stream.')]);"
        "from glance_stream import *; print(before, Site.__name__, load_config.__name__, run.__module__, __version__)"
    ).split() == ["0", "Site", "load", "glance_stream.loop", version("glance-stream")]


def test_every_public_name_exists() -> None:
    assert [name for name in glance_stream.__all__ if getattr(glance_stream, name, None) is None] == []
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.GlanceStreamError)}
    assert kinds <= set(glance_stream.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="imprt_image"):
        glance_stream.imprt_image  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1.0 MiB"), (1 << 40, "1.0 TiB"), (1 << 60, "1024.0 PiB")],
)
def test_sizes(size: int, words: str) -> None:
    assert iec(size) == words
