"""What goes wrong: exit codes, what is said, and what is left."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_program import STORES, Program

TO_EACH = [word for store in STORES for word in ("--store", store)]
DIGEST_OF_OTHER_BYTES = "sha256:" + "00" * 32


UNWRITTEN = "error: the result could not be written: No space left on device\n"
BAD_REQUESTS: list[tuple[list[object], str]] = [
    (["import", "jammy.img", "--store", "fsat"], "there is no store 'fsat'; there are: fast, mirror, archive"),
    (["import", "jammy.img", "--store", "fast", "--store", "fast"], "a store is named twice"),
    (["import", "jammy.img", "--store", "fast", "--all-stores"], "--all-stores can't be used with --store"),
    (["copy", "jammy", "--to", "fast", "--all-stores"], "--all-stores can't be used with --to"),
    (["copy", "jammy"], "name the stores to copy to with --to, or all with --all-stores"),
    (["import", "jammy.img", "--id", ""], "UUID"),
    (["import", "jammy.img", "--hash", "sha265"], "did you mean 'sha256'?"),
    (["import", "jammy.img", "--expect", "sha265:00"], "did you mean 'sha256'?"),
    (["import", "jammy.img", "--config", "a.toml"], "--config stands before the command: glance-stream --config ... import"),
    (["list", "--verbose"], "--verbose stands before the command"),
    (["show", ""], "IMAGE is empty"),
    (["delete", ""], "IMAGE is empty"),
    (["show", "abc"], "the beginning of an id needs 4 characters"),
    (["import", "jammy.img", "--store", "ftp://host/"], "store 'ftp://host/'"),
    (["import", "jammy.img", "--expect", "sha256=00"], "is not of the form ALGO:HEX"),
    (["import", "jammy.img", "--expect", "crc32:00"], "crc32"),
    (["import", "jammy.img", "--hash", "crc32"], "crc32"),
    (["import", "jammy.img", "--property", "colour"], "is not of the form KEY=VALUE"),
    (["import", "jammy.img", "--property", "stores=fast"], "stores"),
    (["import", "jammy.img", "--max-size", "large"], "--max-size"),
    (["import", "jammy.img", "--id", "3f2c"], "not a full UUID"),
    (["import", "jammy.img", "--disk-format", "cow"], "unknown disk_format 'cow'"),
    (["import", "jammy.img", "--decompress", "rar"], "rar"),
    (["import", "no-such-file"], "can't open no-such-file"),
    (["import", "gopher://host/image"], "can't read from gopher://"),
    (["import"], "Missing argument 'SOURCE'"),
    (["import", "jammy.img", "--frobnicate"], "--frobnicate"),
    (["imprt"], "imprt"),
    (["show", "nothing"], "there is no image 'nothing'"),
    (["show", str(uuid.UUID(int=7))], "is not in the catalogue"),
    (["copy", "nothing", "--to", "mirror"], "there is no image 'nothing'"),
]


def test_a_bad_request_changes_nothing(program: Program, image: Path) -> None:
    for (_, words), result in zip(BAD_REQUESTS, program.many(*(given for given, _ in BAD_REQUESTS)), strict=True):
        assert result["exit_code"] == 2
        assert words in result["error"]["message"]
        assert (result["image_id"], result["status"], result["stores"]) == (None, None, [])
    assert [program.objects(store) for store in STORES] == [[], [], []]


def test_a_bad_request_in_words(program: Program, image: Path) -> None:
    _, err = program.run("import", image, "--store", "fsat", code=2)
    assert err == "error: there is no store 'fsat'; there are: fast, mirror, archive\n"
    _, err = program.run("import", code=2)
    assert err == "error: Missing argument 'SOURCE'.\nsee 'glance-stream import --help'\n"


def test_a_configuration_that_is_not_there(program: Program) -> None:
    program.config = program.home / "none.toml"
    assert "none.toml" in program.json("list", code=2)["error"]["message"]


def test_an_active_image_is_not_imported_again(program: Program, image: Path) -> None:
    image_id = program.json("import", image)["image_id"]
    result = program.json("import", image, "--id", image_id, code=2)
    assert "'copy' brings it to more stores" in result["error"]["message"]
    assert (result["status"], result["stores"]) == ("active", ["fast"])


def test_best_effort_goes_on_without_a_store(program: Program, image: Path) -> None:
    program.break_store("mirror")
    out, err = program.run("import", image, *TO_EACH, "--best-effort", "--name", "jammy", code=3)
    assert "stores      archive, fast" in out
    _, told = err.splitlines()
    assert told.startswith("failed: mirror: ")
    shown = program.json("show", "jammy")
    assert shown["status"] == "active"
    assert list(shown["failed"]) == ["mirror"]


def test_best_effort_in_json(program: Program, image: Path) -> None:
    program.break_store("mirror")
    out, err = program.run("import", image, *TO_EACH, "--best-effort", "--json", code=3)
    assert err == ""
    assert '"event": "warning"' in out
    assert program.json("copy", program.json("list")["images"][0]["image_id"], "--to", "mirror", code=4)["failed"].keys() == {
        "mirror"
    }


def test_one_store_fails_and_none_has_it(program: Program, image: Path) -> None:
    program.break_store("mirror")
    result = program.json("import", image, *TO_EACH, code=4)
    assert result["error"]["error"] == "ImportFailed"
    assert list(result["failed"]) == ["mirror"]
    assert (result["status"], result["stores"], result["size"], result["leftovers"]) == ("queued", [], None, [])
    assert [program.objects(store) for store in ("fast", "archive")] == [[], []]
    os.unlink(program.home / "mirror")
    assert program.json("import", image, "--id", result["image_id"], "--all-stores")["stores"] == sorted(STORES)


def test_a_failed_import_says_how_to_go_on(program: Program, image: Path) -> None:
    image_id = str(uuid.uuid4())
    (program.home / "mirror").mkdir()
    (program.home / "mirror" / image_id).write_bytes(b"somebody's")
    _, err = program.run("import", image, "--id", image_id, "--all-stores", code=4)
    first, advice = err.splitlines()
    assert first.startswith("error: store 'mirror': ")
    assert advice.startswith("the image stays queued: ")
    assert f"run the import again with --id {image_id}" in advice
    assert (program.home / "mirror" / image_id).read_bytes() == b"somebody's"
    program.run("delete", image_id)
    assert program.json("list")["images"] == []


def test_other_bytes_than_expected(program: Program, image: Path) -> None:
    result = program.json("import", image, "--all-stores", "--expect", DIGEST_OF_OTHER_BYTES, code=4)
    assert result["error"]["error"] == "DigestMismatch"
    assert [program.objects(store) for store in STORES] == [[], [], []]


def test_an_image_that_is_too_large(program: Program, image: Path) -> None:
    assert program.json("import", image, "--max-size", "4MiB", code=4)["error"]["error"] == "LimitExceeded"


def test_a_traceback_only_for_who_asks(program: Program, image: Path) -> None:
    process = program.start("--verbose", "import", image, "--expect", DIGEST_OF_OTHER_BYTES)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert b"Traceback" in err
    assert b"error: the image's sha256 is" in err


@pytest.fixture
def keeps_everything(program: Program) -> Iterator[Path]:
    """A store's directory that nothing can be removed from."""
    directory = program.home / "fast"
    directory.mkdir()
    if subprocess.run(["chattr", "+a", directory], capture_output=True).returncode:
        pytest.skip("needs root and a file system with append-only directories")
    yield directory
    subprocess.run(["chattr", "-a", directory], check=True)


def test_leftovers_are_told_recorded_and_removed_later(program: Program, image: Path, keeps_everything: Path) -> None:
    given = ["import", image, "--store", "fast", "--store", "mirror", "--expect", DIGEST_OF_OTHER_BYTES]
    result = program.json(*given, code=5)
    assert result["error"]["error"] == "DigestMismatch"
    (leftover,) = result["leftovers"]
    assert leftover["store"] == "fast"
    assert leftover["trace"].endswith(program.objects("fast")[0])
    assert program.objects("mirror") == []

    _, err = program.run(*given, code=5)
    assert "left behind in fast: file://" in err
    assert "run 'glance-stream recover'" in err

    assert len(program.json("recover", code=5)["leftovers"]) == 2
    subprocess.run(["chattr", "-a", keeps_everything], check=True)
    assert len(program.json("recover")["removed"]) == 2
    assert program.objects("fast") == []


def test_best_effort_with_leftovers(program: Program, image: Path, keeps_everything: Path) -> None:
    """The store's commit fails, because the temporary name can't be removed, and so does the undo of it."""
    result = program.json("import", image, "--all-stores", "--best-effort", code=5)
    assert result["stores"] == ["archive", "mirror"]
    assert list(result["failed"]) == ["fast"]
    assert {leftover["store"] for leftover in result["leftovers"]} == {"fast"}
    subprocess.run(["chattr", "-a", keeps_everything], check=True)
    program.json("recover")
    assert program.objects("fast") == []


def test_output_that_can_not_be_written_ends_the_telling_and_not_the_work(program: Program, image: Path) -> None:
    for options in ([], ["--json"]):
        with open("/dev/full", "wb") as full:
            _, err = program.run("import", image, "--name", "jammy", *options, stdout=full)
        assert err.endswith(UNWRITTEN)
        assert err.count("\n") == (1 if options else 2)
    assert [one["status"] for one in program.json("list")["images"]] == ["active", "active"]
    with open("/dev/full", "wb") as full:
        _, err = program.run("--help", stdout=full, code=4)
    assert err == "error: the output could not be written: No space left on device\n"


def test_what_only_tells_has_failed_when_it_could_not(program: Program, image: Path) -> None:
    image_id = program.json("import", image, "--name", "jammy")["image_id"]
    for store in ("mirror", "archive"):
        (program.home / store).mkdir()
    telling = (
        ["list"],
        ["show", "jammy"],
        ["verify", "jammy", "--json"],
        ["stores"],
        ["check", "fast", "--no-write"],
        ["recover", "--dry-run"],
    )
    for given in telling:
        with open("/dev/full", "wb") as full:
            assert program.run(*given, stdout=full, code=4)[1] == UNWRITTEN
    (program.home / "fast" / image_id).write_bytes(b"")
    with open("/dev/full", "wb") as full:
        program.run("verify", "jammy", stdout=full, code=7)
        program.run("recover", stdout=full)
        program.run("delete", "jammy", stdout=full)
    assert program.json("list")["images"] == []


def test_closed_streams(program: Program, image: Path) -> None:
    """What is opened meanwhile must not get their numbers either."""
    close = 'exec "$0" "$@" 2>&-'
    out, _ = program.run("import", image, "--expect", DIGEST_OF_OTHER_BYTES, code=4, command=("sh", "-c", close))
    assert out == ""
    assert program.run("list", command=("sh", "-c", 'exec "$0" "$@" >&-')) == ("", "")
