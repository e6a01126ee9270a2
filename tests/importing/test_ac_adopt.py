"""An object that is in a store already under the image's id: the same bytes are adopted, anything else is a Duplicate."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from importing_words import (
    SLOT,
    CountingSource,
    FaultyStore,
    HeldSource,
    House,
    assert_holds,
    assert_settled,
    content,
    run,
    state,
    until,
)

from glance_stream.errors import DigestMismatch, Duplicate, GlanceStreamError, ImportFailed, StoreFull
from glance_stream.importing import (
    ImportRequest,
    Verdict,
    copy_image,
    delete_from_store,
    delete_image,
    import_image,
    recover,
    verify,
)
from glance_stream.stores.file import FileStore
from glance_stream.transfer import Expectation

DATA = content()
OTHER = content(seed=2)
ADOPTED = "b: was there already, identical: adopted"
Python = Callable[..., subprocess.Popen[str]]


def put(house: House, store_id: str, image_id: str, data: bytes = DATA) -> os.stat_result:
    """As Glance puts it there: another's file."""
    house.directory(store_id).mkdir(exist_ok=True, parents=True)
    path = house.directory(store_id) / image_id
    path.write_bytes(data)
    return path.stat()


def unchanged(house: House, store_id: str, image_id: str, before: os.stat_result) -> bool:
    after = (house.directory(store_id) / image_id).stat()
    return (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("must", [True, False])
def test_an_import_adopts_the_same_bytes(house: House, must: bool) -> None:
    queued = house.queued()
    before = put(house, "b", queued.image_id)
    outcome = house.import_(DATA, image_id=queued.image_id, stores=["a", "b"], all_stores_must_succeed=must)
    assert (outcome.notes, outcome.failures) == ((ADOPTED,), {})
    assert unchanged(house, "b", queued.image_id, before)
    assert_holds(house, queued.image_id, DATA, "a", "b")
    assert_settled(house, queued.image_id, "ab")
    assert all(one.verdict is Verdict.GOOD for one in run(verify(house.site, queued.image_id)).checked)


@pytest.mark.parametrize("must", [True, False])
def test_a_copy_adopts_the_same_bytes(house: House, must: bool) -> None:
    image = house.active(DATA, "a")
    before = put(house, "b", image.image_id)
    outcome = run(copy_image(house.site, image.image_id, stores=["b", "c"], all_stores_must_succeed=must))
    assert outcome.notes == (ADOPTED,)
    assert unchanged(house, "b", image.image_id, before)
    assert_holds(house, image.image_id, DATA, "a", "b", "c")
    assert_settled(house, image.image_id, "bc")


def test_what_was_adopted_is_the_images_like_any_other(house: House) -> None:
    image = house.active(DATA, "a")
    put(house, "b", image.image_id)
    run(copy_image(house.site, image.image_id, stores=["b"]))
    run(delete_from_store(house.site, image.image_id, "a"))
    assert_holds(house, image.image_id, DATA, "b")
    run(delete_image(house.site, image.image_id))
    assert house.files() == []


def test_a_store_that_is_recorded_is_refused_as_ever(house: House) -> None:
    image = house.active(DATA, "a")
    with pytest.raises(GlanceStreamError, match="already present at store 'a'"):
        run(copy_image(house.site, image.image_id, stores=["a"]))


@pytest.mark.parametrize("must", [True, False])
def test_anything_else_is_a_duplicate_with_a_way_out(house: House, must: bool) -> None:
    queued = house.queued()
    before = put(house, "b", queued.image_id, OTHER)
    options = {"image_id": queued.image_id, "stores": ["a", "b"], "all_stores_must_succeed": must}
    if must:
        with pytest.raises(ImportFailed) as caught:
            house.import_(DATA, **options)
        error = caught.value.failures["b"]
        assert state(house.image(queued.image_id)) == state(queued)
    else:
        error = house.import_(DATA, **options).failures["b"]
    assert isinstance(error, Duplicate)
    assert "delete it with the store's own client" in str(error)
    assert unchanged(house, "b", queued.image_id, before)
    assert_settled(house, queued.image_id, "ab")


def test_a_copy_from_a_damaged_location_goes_on_with_the_next(house: House) -> None:
    """What differs is the location that is read, not the object that is there: the next one shows it."""
    image = house.active(DATA, "a", "c")
    (house.directory("a") / image.image_id).write_bytes(OTHER)
    put(house, "b", image.image_id)
    outcome = run(copy_image(house.site, image.image_id, stores=["b"]))
    assert outcome.notes[-1] == ADOPTED
    assert outcome.notes[0].startswith("passed over a: ")
    assert house.image(image.image_id).stores == ("a", "b", "c")


@pytest.mark.parametrize("step", ["open", "write", "flush", "commit", "after commit"])
def test_an_undo_leaves_it_alone(open_site: Callable[..., House], step: str, tmp_path: Path) -> None:
    faulty = FaultyStore("a", tmp_path / "stores" / "a", {step: StoreFull("a", "full")})
    house = open_site({"a": faulty, "b": FileStore("b", tmp_path / "stores" / "b")})
    queued = house.queued()
    before = put(house, "b", queued.image_id)
    with pytest.raises(ImportFailed):
        house.import_(DATA, image_id=queued.image_id, stores=["a", "b"])
    assert unchanged(house, "b", queued.image_id, before)
    assert house.files() == [f"b/{queued.image_id}"]
    assert state(house.image(queued.image_id)) == state(queued)
    assert_settled(house, queued.image_id, "ab")
    run(recover(house.site))
    assert unchanged(house, "b", queued.image_id, before)


# argv: root, image id, import or copy, must or not, store and the step of it at which the process dies.
DYING = """
import sys
from pathlib import Path
from glance_stream.importing import ImportRequest, copy_image, import_image
from importing_words import content, die, file_stores, open_house, run
root, image_id, operation, must, store, step = sys.argv[1:]
house = open_house(Path(root), file_stores(Path(root), "a", "b", "c", **{store: {step: die}}))
options = {"all_stores_must_succeed": must == "must"}
if operation == "import":
    run(import_image(house.site, ImportRequest(house.source(content()), image_id, stores=["a", "b"], **options)))
else:
    run(copy_image(house.site, image_id, stores=["a", "b"], **options))
"""


@pytest.mark.parametrize("operation", ["import", "copy"])
@pytest.mark.parametrize(("store", "step"), [("b", "find"), ("b", "stat"), ("a", "flush"), ("a", "commit"), ("a", "after commit")])
def test_killed_and_recovered(house: House, python: Python, operation: str, store: str, step: str) -> None:
    """The file store does not tell who made an object: the journal does."""
    image = house.queued() if operation == "import" else house.active(DATA, "c")
    before = put(house, "b", image.image_id)
    assert python(DYING, house.root, image.image_id, operation, "must", store, step).wait(timeout=60) == -9
    found = run(recover(house.site))
    assert (found.images, found.leftovers) == ((image.image_id,), ())
    assert unchanged(house, "b", image.image_id, before)
    assert house.files("a") == []
    assert state(house.image(image.image_id)) == state(image)
    assert_settled(house, image.image_id, "ab")
    if operation == "import":
        assert house.import_(DATA, image_id=image.image_id, stores=["a", "b"]).notes == (ADOPTED,)
    else:
        assert run(copy_image(house.site, image.image_id, stores=["a", "b"])).notes == (ADOPTED,)


# -- a file that somebody is writing at this moment, as Glance does in place ------------------------------------------------------


def write_into(house: House, image_id: str, offset: int, data: bytes) -> None:
    with open(house.directory("b") / image_id, "r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("held", [SLOT // 2, SLOT, len(DATA) - 1, len(DATA)], ids=["half a slot", "a slot", "but a byte", "all"])
def test_a_file_that_grows(house: House, held: int) -> None:
    """It has the right bytes at the end of the comparison, and was not whole when that began; or grows beyond them."""
    queued, source = house.queued(), HeldSource(DATA)
    put(house, "b", queued.image_id, DATA[:held])

    async def grow() -> None:
        going = asyncio.ensure_future(import_image(house.site, ImportRequest(source, queued.image_id, stores=["b"])))
        await until(source.waiting)
        write_into(house, queued.image_id, held, DATA[held:] or b"more")
        source.go.set()
        await going

    with pytest.raises(ImportFailed) as caught:
        run(grow())
    assert "b" in caught.value.failures
    assert house.object("b", queued.image_id) == (DATA if held < len(DATA) else DATA + b"more")
    assert state(house.image(queued.image_id)) == state(queued)
    assert_settled(house, queued.image_id, "b")


def test_a_file_that_is_written_to_in_place(house: House) -> None:
    """The same size and, to those who look at the slots one after the other, the same bytes."""
    queued, source = house.queued(), HeldSource(DATA)
    put(house, "b", queued.image_id)

    async def write() -> None:
        going = asyncio.ensure_future(import_image(house.site, ImportRequest(source, queued.image_id, stores=["b"])))
        await until(source.waiting)
        write_into(house, queued.image_id, 0, DATA[:1])
        source.go.set()
        await going

    with pytest.raises(ImportFailed, match="changed while it was read"):
        run(write())
    assert house.object("b", queued.image_id) == DATA
    assert_settled(house, queued.image_id, "b")


def test_an_import_that_expects_another_digest(house: House) -> None:
    queued = house.queued()
    before = put(house, "b", queued.image_id)
    with pytest.raises(DigestMismatch):
        house.import_(CountingSource(DATA), image_id=queued.image_id, stores=["b"], expected=[Expectation("sha256", "ab" * 32)])
    assert unchanged(house, "b", queued.image_id, before)
    assert_settled(house, queued.image_id, "b")


@pytest.mark.parametrize("kind", ["directory", "symlink"])
def test_what_is_no_image(house: House, kind: str) -> None:
    queued = house.queued()
    path = house.directory("b") / queued.image_id
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    else:
        (house.root / "elsewhere").write_bytes(DATA)
        path.symlink_to(house.root / "elsewhere")
    with pytest.raises(ImportFailed):
        house.import_(DATA, image_id=queued.image_id, stores=["b"])
    assert os.path.lexists(path)
    assert_settled(house, queued.image_id, "b")
