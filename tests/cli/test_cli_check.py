"""``check``, as a person and as a program sees it; and stores that Glance's own files name."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from real_program import STORES, Program, ended, eventually

from glance_stream.errors import EXIT_BAD_REQUEST, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_LEFTOVERS, EXIT_PARTIAL

DOCUMENTED = set(re.findall(r"`(\w+)`", (Path(__file__).parents[2] / "docs" / "json.md").read_text())) | {"event", "exit_code"}


def test_every_store_is_tried_and_nothing_stays(program: Program) -> None:
    found = program.json("check", "--size", "1MiB")
    assert [one["store"] for one in found["stores"]] == list(STORES)
    for one in found["stores"]:
        assert (one["status"], one["message"], one["tested"]) == ("ok", "", 1 << 20)
        assert (one["thin"], one["needs_size"], one["atomic_commit"], one["read_only"]) == (True, False, True, False)
        assert all(one[name] > 0 for name in ("free", "latency", "write_rate", "read_rate"))
    assert [one["default"] for one in found["stores"]] == [True, False, False]
    assert found["leftovers"] == []
    assert {*found, *found["stores"][0]} <= DOCUMENTED
    assert [program.objects(store) for store in STORES] == [[], [], []]
    assert not (program.home / "catalogue.db").exists()


def test_people_are_told_in_a_few_lines(program: Program) -> None:
    assert program.config is not None
    program.config.write_text(program.config.read_text().replace("[stores.fast]\n", '[stores.fast]\ndescription = "NVMe"\n'))
    out, err = program.run("check", "fast", "--size", "64KiB")
    assert err == ""
    head, *facts = out.splitlines()
    assert head == f"fast  file, {program.home}/fast, default  (NVMe)  ok"
    assert [fact.split()[0] for fact in facts] == ["free", "latency", "writing", "reading", "kind"]
    assert "64.0 KiB at " in facts[2]
    assert "(NVMe)" in program.run("stores")[0]
    assert program.json("stores")["stores"][0]["description"] == "NVMe"


def test_no_write_writes_nothing(program: Program) -> None:
    (program.home / "fast").mkdir()
    before = os.stat(program.home / "fast").st_mtime_ns
    (one,) = program.json("check", "fast", "--no-write")["stores"]
    assert (one["tested"], one["write_rate"], one["status"]) == (0, None, "ok")
    assert os.stat(program.home / "fast").st_mtime_ns == before


def test_a_store_that_fails_is_named_and_the_others_are_tried(program: Program) -> None:
    program.break_store("mirror")
    found = program.json("check", "--size", "64KiB", code=EXIT_PARTIAL)["stores"]
    assert {one["store"]: one["status"] for one in found} == {"fast": "ok", "mirror": "error", "archive": "ok"}
    assert "is no directory" in found[1]["message"]
    assert program.json("check", "mirror", code=EXIT_FAILED)["stores"][0]["status"] == "error"
    assert program.objects("fast") == []


def test_a_store_that_can_not_be_built_is_a_store_that_fails(program: Program) -> None:
    assert program.config is not None
    program.config.write_text(program.config.read_text() + '[stores.odd]\ntype = "file"\npaht = "x"\n')
    found = program.json("check", "--size", "64KiB", code=EXIT_PARTIAL)["stores"]
    assert [one["store"] for one in found if one["status"] == "error"] == ["odd"]


def test_a_read_only_store_is_only_asked(program: Program) -> None:
    assert program.config is not None
    (program.home / "mirror").mkdir()
    program.config.write_text(program.config.read_text().replace('path = "mirror"\n', 'path = "mirror"\nread_only = true\n'))
    (one,) = program.json("check", "mirror")["stores"]
    assert (one["read_only"], one["tested"], one["write_rate"]) == (True, 0, None)
    assert one["latency"] > 0


def test_a_url_is_a_store_too(program: Program, tmp_path: Path) -> None:
    (one,) = program.json("check", f"file://{tmp_path}/new", "--size", "4KiB")["stores"]
    assert (one["type"], one["status"]) == ("file", "ok")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere"], "there is no store 'nowhere'; there are: fast, mirror, archive"), (["--size", "0"], "at least 1")],
)
def test_bad_requests(program: Program, arguments: list[str], words: str) -> None:
    assert words in program.run("check", *arguments, code=EXIT_BAD_REQUEST)[1]


def writing(program: Program, *arguments: str) -> subprocess.Popen[bytes]:
    """A check that writes much into its first store just now."""
    process = program.start("check", *arguments, "--size", "2GiB")
    eventually(lambda: process.poll() is not None or program.size("fast"))
    assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_and_says_nothing_good_of_what_was_not_tried(program: Program, number: signal.Signals) -> None:
    process = writing(program, "--json")
    process.send_signal(number)
    out, _ = ended(process, EXIT_INTERRUPTED)
    result = json.loads(out.splitlines()[-1])
    assert {one["store"]: one["status"] for one in result["stores"]} == {
        "fast": "interrupted",
        "mirror": "not tried",
        "archive": "not tried",
    }
    assert result["leftovers"] == []
    assert program.objects("fast") == []


def test_an_interrupted_person_is_not_sent_to_recover(program: Program) -> None:
    """It goes by records, and there are none."""
    process = writing(program)
    process.send_signal(signal.SIGINT)
    out, err = ended(process, EXIT_INTERRUPTED)
    assert "interrupted: removing the test object" in err
    assert "recover" not in out + err
    assert f"archive  file, {program.home}/archive  not tried" in out


def test_a_second_interrupt_says_what_stays(program: Program) -> None:
    process = writing(program, "--json")
    process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    out, _ = ended(process, EXIT_LEFTOVERS)
    assert "no record knows it; 'glance-stream recover --sweep'" in json.loads(out.splitlines()[-1])["error"]["message"]
    (left,) = program.objects("fast")
    (program.home / "fast" / left).unlink()


# -- Glance's own files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def glance(program: Program) -> Path:
    """A directory such as /etc/glance, with two stores."""
    etc = program.home / "glance"
    etc.mkdir()
    (etc / "glance-api.conf").write_text(
        f"[DEFAULT]\nenabled_backends = near:file, far:file, odd:martian\nhashing_algorithm = sha256\nroot = {program.home}\n"
        "[glance_store]\ndefault_backend = far\n[near]\nfilesystem_store_datadir = $root/near\n"
        "[far]\nfilesystem_store_datadir = $root/far\nfilesystem_thin_provisioning = true\nfilesystem_store_file_perm = 640\n"
        "[odd]\nmartian_password = sesame\n[database]\nconnection = mysql://glance:sesame@nowhere/glance\n"
    )
    return etc


def test_an_import_into_the_stores_of_glance(program: Program, glance: Path) -> None:
    program.config = None
    data = b"x" * 4096 + bytes(1 << 20)
    (program.home / "disk.img").write_bytes(data)
    found = program.json("--glance-config", glance, "import", "disk.img", "--name", "jammy")
    assert (found["stores"], found["os_hash_algo"]) == (["far"], "sha256")
    stored = program.home / "far" / found["image_id"]
    assert stored.read_bytes() == data
    assert stat_of(stored) == (True, 0o640)
    assert program.json("--glance-config", glance, "copy", "jammy", "--to", "near")["stores"] == ["far", "near"]
    assert stat_of(program.home / "near" / found["image_id"])[0] is False


def stat_of(path: Path) -> tuple[bool, int]:
    """Whether it has holes, and its permissions."""
    found = path.stat()
    return found.st_blocks * 512 < found.st_size, found.st_mode & 0o777


def test_all_stores_leaves_out_what_can_not_be_used(program: Program, glance: Path, image: Path) -> None:
    """AC14."""
    found = program.json("--glance-config", glance, "--glance-config", glance / "glance-api.conf", "import", image, "--all-stores")
    assert found["stores"] == ["archive", "far", "fast", "mirror", "near"]
    assert len(found["notes"]) == 1
    assert "store 'odd': can't be used: there is no driver 'martian'" in found["notes"][0]


def test_our_own_configuration_wins_and_adds(program: Program, glance: Path) -> None:
    assert program.config is not None
    program.config.write_text(program.config.read_text() + '[stores.near]\ndescription = "ours"\n')
    found = program.json("--glance-config", glance, "stores", code=EXIT_PARTIAL)["stores"]
    assert [one["store"] for one in found] == ["near", "far", "odd", "fast", "mirror", "archive"]
    assert (found[0]["description"], found[0]["where"]) == ("ours", f"{program.home}/near")
    assert [one["store"] for one in found if one["default"]] == ["far"]


def test_the_environment_names_it_too_and_no_secret_is_shown(program: Program, glance: Path, tmp_path: Path) -> None:
    program.config = None
    program.set("GLANCE_STREAM_GLANCE_CONFIG", f"{glance}:{glance}/glance-api.conf")
    out, err = program.run("--verbose", "stores", code=EXIT_PARTIAL)
    assert out.startswith(f"near  file, {program.home}/near  ok")
    assert "sesame" not in out + err
    shown = program.run("--glance-config", tmp_path / "missing.conf", "stores", code=EXIT_BAD_REQUEST)[1]
    assert f"configuration {tmp_path}/missing.conf: No such file or directory; name another with --glance-config" in shown


def test_the_rules_of_glance_hold(program: Program, glance: Path) -> None:
    """No plugin that decompresses, so nothing is; formats and URLs as the operator lists them."""
    program.config = None
    packed = gzip.compress(b"x" * 100_000)
    (program.home / "disk.gz").write_bytes(packed)
    (glance / "glance-image-import.conf").write_text("[image_format]\ndisk_formats = raw,iso\n")
    glanced = ["--glance-config", glance, "import"]
    assert program.json(*glanced, "disk.gz")["size"] == len(packed)
    assert program.json(*glanced, "disk.gz", "--decompress", "auto")["size"] == 100_000
    refused = program.json(*glanced, "disk.gz", "--disk-format", "qcow2", code=EXIT_BAD_REQUEST)
    assert "known are raw, iso" in refused["error"]["message"]
    refused = program.json(*glanced, "http://127.0.0.1:9/disk.gz", code=EXIT_BAD_REQUEST)
    assert "not allowed as a source here" in refused["error"]["message"]
    (glance / "glance-image-import.conf").write_text("[image_import_opts]\nimage_import_plugins = [image_decompression]\n")
    assert program.json(*glanced, "disk.gz")["size"] == 100_000


# -- a directory that is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["stores"], ["check", "--no-write"], ["check", "--size", "4KiB"]])
def test_a_store_that_should_have_images_is_not_ok_without_its_directory(program: Program, image: Path, command: list[str]) -> None:
    """Its disk is not mounted; and what is made for a trial would be taken for the store by whatever comes next."""
    program.run("import", image, "--store", "fast", "--store", "mirror")
    mirror = program.home / "mirror"
    mirror.rename(program.home / "away")
    found = {one["store"]: one for one in program.json(*command, code=EXIT_PARTIAL)["stores"]}
    assert found["fast"]["status"] == "ok"
    assert found["mirror"]["status"] == "error"
    assert "mirror is not there, and 1 image is recorded in it: is it mounted?" in found["mirror"]["message"]
    assert not mirror.exists()


def test_a_store_that_is_new_is_ok_and_no_catalogue_is_made_to_tell(program: Program) -> None:
    assert {one["status"] for one in program.json("stores")["stores"]} == {"ok"}
    assert not (program.home / "catalogue.db").exists()


def test_a_catalogue_that_can_not_be_read_is_not_the_stores_fault(program: Program) -> None:
    (program.home / "catalogue.db").write_text("not a database, and longer than the header of one" * 20)
    out, err = program.run("stores")
    assert out.count("ok") == len(STORES)
    assert "can't be told" in err
