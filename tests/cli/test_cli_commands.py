"""Each command, on real inputs, as a person and as a program sees it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import uuid
from pathlib import Path

from real_program import STORES, Program, ended

GONE = "deleted"


def import_to(program: Program, image: Path, *stores: str, name: str = "jammy") -> str:
    """The new image's id."""
    chosen = [word for store in stores for word in ("--store", store)]
    found = program.json("import", image, "--name", name, *chosen)["image_id"]
    assert isinstance(found, str)
    return found


def test_the_built_in_configuration_needs_nothing(program: Program, image: Path) -> None:
    program.config = None
    out, err = program.run("import", image)
    assert out.startswith("imported image ")
    found = program.json("list")["images"]
    assert err == f"image {found[0]['image_id']}\n"
    assert [one["stores"] for one in found] == [["default"]]
    stored = program.home / "data" / "glance-stream" / "images" / found[0]["image_id"]
    assert stored.read_bytes() == image.read_bytes()


def test_import_to_all_stores_with_everything_asked_for(program: Program, image: Path) -> None:
    data, image_id = image.read_bytes(), str(uuid.uuid4())
    given = ["--id", image_id, "--name", "jammy", "--md5", "--hash", "sha256", "--disk-format", "ploop", "--thin"]
    expected = [
        "--expect",
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        "--expect-compressed",
        f"md5:{hashlib.md5(data).hexdigest()}",
    ]
    result = program.json(
        "import",
        image,
        "--all-stores",
        *given,
        *expected,
        "--property",
        "os_distro=ubuntu",
        "--max-size",
        "5MiB",
        "--decompress",
        "never",
    )
    assert result | {"seconds": 0} == {
        "event": "result",
        "image_id": image_id,
        "name": "jammy",
        "status": "active",
        "size": len(data),
        "os_hash_algo": "sha256",
        "os_hash_value": hashlib.sha256(data).hexdigest(),
        "checksum": hashlib.md5(data).hexdigest(),
        "stores": sorted(STORES),
        "seconds": 0,
        "failed": {},
        "leftovers": [],
        "notes": [],
        "exit_code": 0,
    }
    assert all((program.home / store / image_id).read_bytes() == data for store in STORES)
    shown = program.json("show", image_id)
    assert shown["disk_format"] == "ploop"
    assert shown["properties"]["os_distro"] == "ubuntu"


def test_import_decompresses_and_says_so(program: Program, image: Path) -> None:
    packed = image.with_suffix(".gz")
    packed.write_bytes(gzip.compress(image.read_bytes(), 1))
    out, err = program.run("import", packed, "--store", "fast")
    assert re.fullmatch(r"image \S{36}\n", err)
    assert "note        decompressed from gzip" in out
    assert "size        5.0 MiB (5242880 bytes)" in out


def test_import_from_standard_input(program: Program, image: Path) -> None:
    with image.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat:
        assert program.json("import", "-", stdin=cat.stdout)["size"] == image.stat().st_size


def test_import_into_a_store_that_only_a_url_names(program: Program, image: Path) -> None:
    url = f"file://{program.home}/elsewhere"
    image_id = import_to(program, image, f"{url}/")
    assert program.objects("elsewhere") == [image_id]
    checked = program.json("verify", image_id, "--store", f"{url}/")["checked"]
    assert [(one["store"], one["verdict"]) for one in checked] == [(url, "good")]


def test_json_shows_progress_before_the_result(program: Program, image: Path) -> None:
    out, _ = program.run("import", image, "--store", "fast", "--json")
    begun, first, *_, last = [json.loads(line) for line in out.splitlines()]
    assert (begun["phase"], begun["total"]) == ("opening", None)
    assert set(begun) == set(first) == {"event", "image_id", "phase", "read", "total", "produced", "stores", "kept"}
    assert first["event"] == "progress"
    assert first["total"] == image.stat().st_size
    assert last["event"] == "result"


def test_list_and_show_for_people(program: Program, image: Path) -> None:
    assert program.run("list") == ("there are no images yet\n", "")
    image_id = import_to(program, image, "fast", "mirror", name="jammy \x1b[31m")
    listed, _ = program.run("list")
    assert f"{image_id}  active        5.0 MiB  jammy \\x1b[31m" in listed
    assert listed.endswith("fast, mirror\n")
    shown, _ = program.run("show", image_id)
    assert f"location    mirror: file://{program.home}/mirror/{image_id}\n" in shown
    assert "os_glance_importing_to_stores=" not in shown, "empty as on every image"


def test_an_id_in_capitals_and_no_name(program: Program, image: Path) -> None:
    image_id = str(uuid.uuid4())
    result = program.json("import", image, "--id", image_id.upper(), "--name", "")
    assert (result["image_id"], result["name"]) == (image_id, None)


def test_an_image_is_found_by_the_beginning_of_its_id_and_by_its_name(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast")
    texts = (image_id, image_id[:8], image_id[:4].upper(), "jammy", image_id[:3])
    *found, missed = program.many(*(["show", text] for text in texts))
    assert [one["image_id"] for one in found] == [image_id] * 4
    assert missed["error"]["error"] == "ImageNotFound"


def test_an_ambiguous_name_lists_the_candidates(program: Program, image: Path) -> None:
    ids = {one["image_id"] for one in program.many(*[["import", image, "--name", "jammy"]] * 2)}
    _, err = program.run("delete", "jammy", code=2)
    first, *candidates = err.splitlines()
    assert first == "error: 'jammy' may mean each of 2 images, give more of the id"
    assert {line.split()[0] for line in candidates} == ids
    assert all(re.search(r" active +5\.0 MiB  \d{4}-\d\d-\d\d \d\d:\d\d", line) for line in candidates)
    assert {one["image_id"] for one in program.json("show", "jammy", code=2)["candidates"]} == ids
    assert set(program.objects("fast")) == ids


def test_copy(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast")
    out, err = program.run("copy", "jammy", "--to", "mirror", "--from", "fast")
    assert (out.splitlines()[0], err) == (f"copied image {image_id} (active)", "")
    copied, again, refused = program.many(*[["copy", "jammy", "--all-stores"]] * 2, ["copy", "jammy", "--to", "mirror"])
    assert copied["stores"] == sorted(STORES)
    assert all((program.home / store / image_id).read_bytes() == image.read_bytes() for store in STORES)
    assert again["notes"] == ["every store has the image already"]
    assert (refused["exit_code"], refused["stores"]) == (2, sorted(STORES))


def test_verify_names_damage_and_where_it_is(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast", "mirror")
    with (program.home / "mirror" / image_id).open("r+b") as file:
        file.seek((4 << 20) + 17)
        file.write(b"damage")
    checked = program.json("verify", image_id, code=7)["checked"]
    assert [(one["store"], one["verdict"], one["ranges"]) for one in checked] == [
        ("fast", "good", []),
        ("mirror", "damaged", [[4 << 20, 1 << 20]]),
    ]
    out, err = program.run("verify", image_id, "--store", "mirror", code=7)
    assert (out, err) == ("mirror  damaged: sha512 differs, 1048576 bytes at 4194304\n", "")
    program.run("verify", image_id, "--store", "fast")


def test_verify_finds_what_is_missing(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast")
    os.unlink(program.home / "fast" / image_id)
    assert program.json("verify", image_id, code=7)["checked"][0]["verdict"] == "missing"


def test_verify_does_not_call_a_store_damaged_that_can_not_be_read(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast")
    os.unlink(program.home / "fast" / image_id)
    os.mkdir(program.home / "fast" / image_id)
    assert program.json("verify", image_id, code=4)["checked"][0]["verdict"] == "unreadable"


def test_delete_from_one_store_and_altogether(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast", "mirror")
    assert program.json("delete", image_id, "--store", "mirror")["stores"] == ["fast"]
    assert program.objects("mirror") == []
    assert "only store containing it" in program.json("delete", image_id, "--store", "fast", code=2)["error"]["message"]
    out, err = program.run("delete", image_id)
    assert (out, err) == (f"deleted image {image_id} from fast\n", "")
    assert program.objects("fast") == []
    assert program.json("list")["images"] == []


def test_delete_says_what_it_did(program: Program, image: Path) -> None:
    image_id = import_to(program, image, "fast")
    os.unlink(program.home / "fast" / image_id)
    result = program.json("delete", image_id)
    assert (result["status"], result["stores"], result["notes"]) == (GONE, [], ["fast: already gone"])


def test_stores_shows_a_broken_one_beside_the_others(program: Program) -> None:
    program.break_store("mirror")
    found = {one["store"]: one for one in program.json("stores", code=3)["stores"]}
    assert found["fast"] == {
        "store": "fast",
        "type": "file",
        "where": str(program.home / "fast"),
        "description": "",
        "default": True,
        "read_only": False,
        "status": "ok",
        "message": "",
    }
    assert found["mirror"]["status"] == "error"
    assert "store 'mirror'" in found["mirror"]["message"]
    assert found["archive"]["status"] == "ok"


def test_stores_shows_one_that_is_configured_wrongly_and_needs_no_catalogue(program: Program) -> None:
    assert program.config is not None
    text = program.config.read_text().replace("catalogue.db", "no/such/directory/\0").replace("\0", "catalogue.db")
    program.config.write_text(text + '[stores.odd]\ntype = "tape"\n')
    out, err = program.run("stores", code=3)
    assert "odd  tape  error: store 'odd': there is no store type 'tape'" in out
    assert err == ""
    assert not (program.home / "no").exists()


def test_recover_without_anything_to_do(program: Program) -> None:
    assert program.run("recover") == ("there was nothing to recover\n", "")


def test_a_reader_that_goes_away_is_no_error(program: Program, image: Path) -> None:
    import_to(program, image, "fast")
    for command in (["list"], ["import", image, "--json"]):
        process = program.start(*command)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert ended(process, 0) == ("", "")
    assert len(program.json("list")["images"]) == 2
