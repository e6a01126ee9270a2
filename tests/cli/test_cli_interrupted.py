"""What a killed, a changed and a taken import tell, so that whoever started them can go on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from real_program import STORES, Endless, Program, ended, eventually, result_of

SLOT = 65536


@pytest.fixture(autouse=True)
def small_slots(program: Program) -> None:
    """So that the first ones are full."""
    assert program.config is not None
    program.config.write_text(program.config.read_text() + '[transfer]\nslot_size = "64 KiB"\n')


def writing(program: Program, process: subprocess.Popen[bytes]) -> None:
    eventually(lambda: process.poll() is not None or all(program.size(store) >= SLOT for store in STORES))
    assert process.poll() is None


def killed(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Its stdout and stderr until then."""
    process.kill()
    out, err = process.communicate()
    return out.decode(), err.decode()


def test_a_killed_import_has_told_its_id(program: Program, endless: Endless, image: Path) -> None:
    process = program.start("import", endless.path, "--all-stores")
    writing(program, process)
    out, err = killed(process)
    assert out == ""
    word, image_id = err.split()
    assert (word, program.json("show", image_id)["status"]) == ("image", "importing")
    assert program.json("import", image, "--id", image_id, "--all-stores")["status"] == "active"


def test_a_killed_import_has_told_its_id_in_json(program: Program) -> None:
    """Before the source has given a byte."""
    reader, writer = os.pipe()
    process = program.start("import", "-", "--json", stdin=reader)
    os.close(reader)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    os.close(writer)
    process.kill()
    process.communicate()
    assert (first["event"], first["phase"]) == ("progress", "opening")
    assert [one["image_id"] for one in program.json("list")["images"]] == [first["image_id"]]


def test_each_progress_event_names_the_image(program: Program, image: Path) -> None:
    out, _ = program.run("import", image, "--json")
    ids = {event["image_id"] for event in map(json.loads, out.splitlines())}
    out, _ = program.run("copy", ids.copy().pop(), "--to", "mirror", "--json")
    ids |= {event["image_id"] for event in map(json.loads, out.splitlines())}
    assert len(ids) == 1


def test_an_id_that_was_given_is_not_told_again(program: Program, image: Path) -> None:
    image_id = "4f1f65a6-0a4c-4a1e-9b0e-0d3f3a9d8f11"
    assert program.run("import", image, "--id", image_id)[1] == ""


def test_what_a_killed_import_left_of_other_content_is_written_anew(program: Program, endless: Endless, image: Path) -> None:
    process = program.start("import", endless.path, "--name", "jammy", "--all-stores")
    writing(program, process)
    image_id = killed(process)[1].split()[1]
    notes = program.json("import", image, "--id", image_id, "--all-stores")["notes"]
    anew = "an interrupted transfer had left nothing of this content: all was written anew"
    assert sorted(notes[-3:]) == sorted(f"{store}: {anew}" for store in STORES)
    assert not [note for note in notes if "continued" in note]


@pytest.mark.parametrize("options", [(), ("--best-effort",)])
def test_whose_lease_is_lost_is_told_what_became_of_it(program: Program, endless: Endless, options: tuple[str, ...]) -> None:
    process = program.start("import", endless.path, "--all-stores", *options)
    writing(program, process)
    process.send_signal(signal.SIGSTOP)
    with sqlite3.connect(program.home / "catalogue.db", timeout=30) as database:
        database.execute("UPDATE tasks SET expires_at = '2001-01-01 00:00:00.000000'")
    database.close()
    assert program.run("list")[0].rstrip().endswith("(interrupted)")
    (image_id,) = program.json("recover")["images"]
    process.send_signal(signal.SIGCONT)
    _, err = ended(process, 6)
    removed = "" if options else "what this run had written is removed; "
    assert f"{removed}'glance-stream show {image_id}' tells who has the image now" in err.splitlines()
    assert [program.objects(store) for store in STORES] == [[], [], []]


def test_whose_record_is_deleted_is_told_what_became_of_it(program: Program, endless: Endless) -> None:
    process = program.start("import", endless.path, "--all-stores")
    writing(program, process)
    with sqlite3.connect(program.home / "catalogue.db", timeout=30) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("DELETE FROM images")
    database.close()
    _, err = ended(process, 6)
    assert "what this run had written is removed" in err.splitlines()
    assert "glance-stream show" not in err


def test_who_leaves_at_once_is_told_the_id(program: Program, endless: Endless) -> None:
    process = program.start("import", endless.path, "--all-stores")
    writing(program, process)
    process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    _, err = ended(process, 5)
    image_id = err.split()[1]
    assert err.splitlines()[-1].endswith(f"run 'glance-stream recover {image_id}'")
    assert result_of(*program.run("recover", image_id, "--json"), 0)["images"] == [image_id]
