"""Other commands while one is under way: refused with exit code 6 or 2, or answered, and never in its way."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest
from real_program import STORES, Endless, Program, ended, eventually, result_of

IMAGE = "4f1f65a6-0a4c-4a1e-9b0e-0d3f3a9d8f11"


@pytest.fixture(autouse=True)
def small_slots(program: Program) -> None:
    """So that the first ones are full."""
    assert program.config is not None
    program.config.write_text(program.config.read_text() + '[transfer]\nslot_size = "64 KiB"\n')


def test_everything_while_an_import_is_under_way(program: Program, endless: Endless, image: Path) -> None:
    """Deleting an image in mid-import takes two steps: interrupt the import, which undoes it, then delete."""
    process = program.start("import", endless.path, "--id", IMAGE, "--all-stores")
    eventually(lambda: process.poll() is not None or all(program.size(store) for store in STORES))
    held = [program.objects(store) for store in STORES]
    answers = program.many(
        ["delete", IMAGE],
        ["import", image, "--id", IMAGE],
        ["import", image, "--id", IMAGE, "--all-stores", "--best-effort"],
        ["copy", IMAGE, "--to", "mirror"],
        ["delete", IMAGE, "--store", "mirror"],
        ["verify", IMAGE],
        ["show", IMAGE],
        ["list"],
        ["recover"],
        ["recover", "--sweep", "--older-than", "0s"],
    )
    assert [answer["exit_code"] for answer in answers] == [6, 6, 6, 2, 2, 2, 0, 0, 0, 0]
    assert all(str(process.pid) in answers[number]["error"]["message"] for number in (0, 1, 2))
    assert answers[6]["locked_by"]["pid"] == process.pid
    assert len(answers[8]["held"]) == 1
    assert process.poll() is None
    assert [program.objects(store) for store in STORES] == held
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    assert [program.objects(store) for store in STORES] == [[], [], []]
    program.run("delete", IMAGE)
    assert program.json("list")["images"] == []


def test_the_record_is_deleted_while_an_import_is_under_way(program: Program, endless: Endless) -> None:
    """By somebody who knows of no lock. It is noticed although no byte comes any more."""
    process = program.start("import", endless.path, "--id", IMAGE, "--all-stores", "--json")
    eventually(lambda: process.poll() is not None or all(program.size(store) for store in STORES))
    with sqlite3.connect(program.home / "catalogue.db", timeout=30) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("DELETE FROM images WHERE id = ?", (IMAGE,))
    database.close()
    result = result_of(*ended(process, 6), 6)
    assert result["error"]["error"] == "LockLost"
    assert [program.objects(store) for store in STORES] == [[], [], []]
    assert program.json("list")["images"] == []
    assert program.json("recover")["images"] == []


@pytest.mark.parametrize("same", [True, False], ids=["the same bytes", "other bytes"])
def test_an_object_that_is_there_already(program: Program, image: Path, same: bool) -> None:
    theirs = image.read_bytes() if same else b"somebody's"
    (program.home / "mirror").mkdir()
    (program.home / "mirror" / IMAGE).write_bytes(theirs)
    if same:
        out, _ = program.run("import", image, "--id", IMAGE, "--all-stores")
        assert "mirror: was there already, identical: adopted" in out
        assert program.json("show", IMAGE)["stores"] == sorted(STORES)
        program.run("verify", IMAGE)
    else:
        _, err = program.run("import", image, "--id", IMAGE, "--all-stores", code=4)
        assert "is there already, and is not this image: it has 10 bytes" in err
        assert "delete it with the store's own client" in err
        assert [program.objects(store) for store in STORES] == [[], [IMAGE], []]
    assert (program.home / "mirror" / IMAGE).read_bytes() == theirs
