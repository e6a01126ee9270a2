"""Deletion where it is refused, as a program sees it."""

from __future__ import annotations

from pathlib import Path

from real_program import Program


def test_delete_with_a_store_that_is_no_more_changes_nothing_before_it_says_so(program: Program, image: Path) -> None:
    image_id = program.json("import", image, "--store", "fast", "--store", "mirror")["image_id"]
    assert program.config is not None
    program.config.write_text(program.config.read_text().replace("stores.mirror", "stores.other").replace('"mirror"', '"other"'))
    refused, done = program.many(["delete", image_id], ["delete", image_id, "--forget"])
    assert (refused["exit_code"], refused["stores"]) == (2, ["fast", "mirror"])
    assert "--forget" in refused["error"]["message"]
    assert (done["status"], len(done["notes"])) == ("deleted", 1)
    assert "mirror: forgotten" in done["notes"][0]
    assert (program.objects("fast"), program.objects("mirror")) == ([], [image_id])
