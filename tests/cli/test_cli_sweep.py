"""``recover --sweep``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from real_program import Program

from glance_stream.errors import EXIT_BAD_REQUEST, EXIT_PARTIAL

LOST = "11111111-2222-4333-8444-555555555555"


def leave(program: Program, store: str, hours: float) -> Path:
    """The temporary file of an import whose catalogue is gone."""
    path = program.home / store / f".{LOST}.0123456789abcdef.part"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 100)
    os.utime(path, (time.time() - 3600 * hours,) * 2)
    return path


def test_what_is_swept_is_told(program: Program) -> None:
    old, young = leave(program, "fast", 30), leave(program, "mirror", 2)
    found = program.json("recover", "--sweep", "--dry-run")
    assert (found["dry_run"], [one["trace"] for one in found["swept"]]) == (True, [f"file://{old}"])
    assert old.exists()
    out, err = program.run("recover", "--sweep")
    assert err == ""
    assert out.splitlines()[0].startswith(f"swept from fast: file://{old} (30.0 h old, ")
    assert out.splitlines()[1].startswith(f"too young, or on record, in mirror: file://{young} (2.0 h old, ")
    assert (old.exists(), young.exists()) == (False, True)
    found = program.json("recover", "--sweep", "--older-than", "90m")
    assert [(one["store"], one["image_id"], one["age"] // 3600) for one in found["swept"]] == [("mirror", LOST, 2)]
    assert (found["spared"], found["failed"], found["leftovers"]) == ([], {}, [])
    assert program.run("recover", "--sweep")[0] == "there was nothing to recover\n"


def test_without_sweep_nothing_is_swept(program: Program) -> None:
    old = leave(program, "fast", 30)
    assert "swept" not in program.json("recover")
    assert old.exists()


def test_a_store_that_can_not_be_asked_is_named(program: Program) -> None:
    old = leave(program, "fast", 30)
    program.break_store("mirror")
    found = program.json("recover", "--sweep", code=EXIT_PARTIAL)
    assert list(found["failed"]) == ["mirror"]
    assert not old.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--older-than", "1h"], "belongs to --sweep"),
        (["jammy", "--sweep"], "leave out the image"),
        (["--sweep", "--older-than", "soon"], "expected a time such as 90m, 24h or 7d"),
        (["--sweep", "--older-than", "-1h"], "expected a time"),
        (["--sweep", "--older-than", ""], "expected a time"),
        (["--sweep", "--older-than", "1"], "expected a time"),
    ],
)
def test_bad_requests(program: Program, arguments: list[str], words: str) -> None:
    assert words in program.run("recover", *arguments, code=EXIT_BAD_REQUEST)[1]
