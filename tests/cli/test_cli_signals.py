"""Interrupting it, killing it, and what others see of it meanwhile."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest
from real_program import SECONDS, STORES, Endless, Program, ended, eventually, result_of


@pytest.fixture(autouse=True)
def small_slots(program: Program) -> None:
    """So that the first ones are full."""
    assert program.config is not None
    program.config.write_text(program.config.read_text() + '[transfer]\nslot_size = "64 KiB"\n')


def under_way(program: Program, endless: Endless, *options: str, command: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """An import that has begun to write to every store and waits for more."""
    process = program.start("import", endless.path, "--name", "jammy", "--all-stores", *options, command=command)
    eventually(lambda: process.poll() is not None or all(program.size(store) for store in STORES))
    assert process.poll() is None
    return process


def assert_untouched(program: Program) -> None:
    assert [program.objects(store) for store in STORES] == [[], [], []]
    shown = program.json("show", "jammy")
    assert (shown["status"], shown["size"], shown["stores"], shown["locked_by"]) == ("queued", None, [], None)
    assert shown["properties"]["os_glance_importing_to_stores"] == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_rolls_back(program: Program, endless: Endless, number: signal.Signals) -> None:
    process = under_way(program, endless)
    process.send_signal(number)
    out, err = ended(process, 130)
    assert out == ""
    assert "interrupt again to leave at once" in err.splitlines()[1]
    assert "error: interrupted and rolled back" in err.splitlines()
    assert "run the import again with --id " in err
    assert_untouched(program)


def test_an_interrupt_in_json(program: Program, endless: Endless) -> None:
    process = under_way(program, endless, "--json", "--best-effort")
    process.send_signal(signal.SIGINT)
    result = result_of(*ended(process, 130), 130)
    assert result["error"] == {"error": "Interrupted", "message": "interrupted and rolled back"}
    assert (result["status"], result["stores"], result["leftovers"]) == ("queued", [], [])
    assert_untouched(program)


def test_a_second_signal_leaves_at_once_and_recover_finds_the_rest(program: Program, endless: Endless) -> None:
    process = under_way(program, endless, "--json")
    process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    result = result_of(*ended(process, 5), 5)
    image_id = result["image_id"]
    assert f"run 'glance-stream recover {image_id}'" in result["error"]["message"]
    assert program.json("recover", image_id)["images"] == [image_id]
    assert_untouched(program)


def test_a_killed_import_is_recovered(program: Program, endless: Endless) -> None:
    process = under_way(program, endless)
    process.kill()
    process.wait()
    assert "that process is dead: run 'glance-stream recover'" in program.run("show", "jammy")[0]
    assert program.json("show", "jammy")["locked_by"]["dead"] is True
    assert program.run("list")[0].rstrip().endswith("(interrupted)")
    assert [(one["locked"], one["interrupted"]) for one in program.json("list")["images"]] == [(True, True)]
    foreseen = program.json("recover", "--dry-run")
    assert foreseen["images"] == [program.json("show", "jammy")["image_id"]]
    assert foreseen["discarded"]
    assert program.json("recover", "--dry-run", "jammy") == foreseen
    out, err = program.run("recover")
    assert out.startswith("recovered image ")
    assert [f"discarded from {one['store']}: {one['trace']}" for one in foreseen["discarded"]] == out.splitlines()[1:]
    assert err == ""
    assert_untouched(program)


def test_a_stopped_holder_keeps_the_image(program: Program, endless: Endless, image: Path) -> None:
    process = under_way(program, endless)
    process.send_signal(signal.SIGSTOP)
    shown = program.json("show", "jammy")
    assert (shown["status"], shown["locked_by"]["pid"]) == ("importing", process.pid)
    result = program.json("delete", "jammy", code=6)
    assert result["error"]["error"] == "ImageLocked"
    assert f"process {process.pid} " in result["error"]["message"]
    _, err = program.run("import", image, "--id", shown["image_id"], code=6)
    assert "its lock may be taken over at" in err
    assert len(program.json("recover")["held"]) == 1
    assert len(program.json("recover", "jammy", code=6)["held"]) == 1
    assert program.run("list")[0].rstrip().endswith("(locked)")
    assert [(one["locked"], one["interrupted"]) for one in program.json("list")["images"]] == [(True, False)]
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    assert_untouched(program)


def test_progress_is_shown_on_a_terminal_and_only_there(program: Program, endless: Endless) -> None:
    master, slave = os.openpty()
    process = program.start("import", endless.path, "--store", "fast", "--store", "mirror", stderr=slave)
    os.close(slave)
    shown = b""
    while not all(word in shown for word in (b"source", b"fast", b"mirror", b"iB", b"transferring")):
        assert select.select([master], [], [], SECONDS)[0], shown
        shown += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    while piece := _read(master):
        shown += piece
    os.close(master)
    out, _ = ended(process, 130)
    assert out == ""
    assert b"\x1b[" in shown
    assert b"error: interrupted and rolled back" in shown
    told = shown.index(b"interrupted: rolling back")
    assert b"transferring" not in shown[told:], "no rows after an interrupt"
    assert shown.rindex(b"\x1b[?25h") < shown.rindex(b"error:"), "the cursor is shown again"


def test_verify_says_which_store_it_reads(program: Program, image: Path) -> None:
    program.run("import", image, "--name", "jammy", "--store", "fast", "--store", "mirror")
    master, slave = os.openpty()
    process = program.start("verify", "jammy", stderr=slave)
    os.close(slave)
    shown = b""
    while piece := _read(master):
        shown += piece
    os.close(master)
    assert ended(process, 0)[0] == "fast    good\nmirror  good\n"
    assert b"mirror (2 of 2)" in shown


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # what Linux says when the last user of the other side has gone
        return b""


def test_no_colours_and_no_progress_elsewhere(program: Program, image: Path) -> None:
    out, err = program.run("import", image, "--all-stores")
    assert err == f"{out.splitlines()[0].removeprefix('imported ').removesuffix(' (active)')}\n"
    assert "\x1b" not in out


def test_nohup_is_heeded(program: Program, endless: Endless) -> None:
    process = under_way(program, endless, command=("nohup",))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    ended(process, 130)
