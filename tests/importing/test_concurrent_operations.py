"""Two operations on one image: the second comes while the first stands still at a step.

It is refused while the first is still there, has touched nothing, and does its work when it is tried again; or it only looks, and
sees what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from concurrent_hosts import DATA, PATIENCE, Gate, Host, beside, outcome
from importing_words import assert_holds, assert_settled, content, run, state

from glance_stream.errors import ImageLocked, ImportFailed, InvalidRequest, LockLost, StoreFull, StoreUnavailable
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
from glance_stream.importing.sweep import sweep
from glance_stream.model import Image
from glance_stream.sources import PathSource

WRITE_STEPS = ("open", "opened", "write", "flush", "commit", "after commit")


@dataclass(frozen=True)
class Operations:
    """Of one image. Its bytes are in a file."""

    host: Host
    image_id: str

    def start(self, name: str) -> Callable[[], Any]:
        site, image_id = self.host.site, self.image_id
        return {
            "import": lambda: import_image(
                site, ImportRequest(PathSource(self.host.root / "disk.raw"), image_id, stores=["a", "b"])
            ),
            "copy to c": lambda: copy_image(site, image_id, stores=["c"]),
            "copy to d": lambda: copy_image(site, image_id, stores=["d"]),
            "delete": lambda: delete_image(site, image_id),
            "delete from b": lambda: delete_from_store(site, image_id, "b"),
            "verify": lambda: verify(site, image_id),
            "recover": lambda: recover(site),
            "sweep": lambda: sweep(site, 0),
        }[name]

    def do(self, name: str) -> Any:
        return outcome(self.start(name))


# What runs first, and where it may stand still.
FIRST = [
    *(("import", "b", step) for step in WRITE_STEPS),
    *(("copy to c", "c", step) for step in WRITE_STEPS),
    ("delete from b", "a", "stat"),
    ("delete from b", "b", "delete"),
    ("delete from b", "b", "after delete"),
    ("delete", "a", "delete"),
    ("delete", "a", "after delete"),
    ("delete", "b", "delete"),
    ("delete", "b", "after delete"),
]
firsts = pytest.mark.parametrize(("name", "store", "step"), FIRST, ids=lambda value: str(value).replace(" ", "-"))
FEW = [("import", "b", "write"), ("copy to c", "c", "after commit"), ("delete from b", "b", "delete"), ("delete", "b", "delete")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalogue.db"


@pytest.fixture
def hosts(tmp_path: Path, url: str) -> Iterator[tuple[Host, Host]]:
    (tmp_path / "disk.raw").write_bytes(DATA)
    pair = Host(tmp_path, url), Host(tmp_path, url)
    yield pair
    for host in pair:
        for name in host.site.stores:
            for fault in host.faulty(name).faults.values():
                if isinstance(fault, Gate):
                    fault.open()
        host.catalogue.close()


def prepared(host: Host, name: str) -> Image:
    return host.queued() if name == "import" else host.active(DATA, "a", "b")


def refusal(first: str, second: str) -> type[Exception]:
    """What is wrong with the request itself is said before the lock is asked for."""
    if second == "import":
        return ImageLocked if first == "import" else InvalidRequest
    if first == "import" and second != "delete":
        return InvalidRequest  # it is importing, not active
    if first == "delete" and second == "delete from b":
        return InvalidRequest | ImageLocked  # type: ignore[return-value]  # b may be the last that is left
    return ImageLocked


def assert_the_second_is_refused(second: Operations, first: str, store: str) -> None:
    """``store``: where the first stands still; others go on."""
    files = second.host.files(store)
    second.host.forget_steps()
    for name in ("import", "copy to c", "copy to d", "delete", "delete from b"):
        assert isinstance(second.do(name), refusal(first, name)), (name, second.do(name))
    found = second.do("recover")
    assert (found.images, found.removed, found.leftovers) == ((), (), ())
    assert len(found.held) == 1
    assert second.do("sweep").removed == ()
    verified = second.do("verify")
    if first == "import":
        assert isinstance(verified, InvalidRequest)
    elif isinstance(verified, InvalidRequest):
        assert "was deleted while it was read" in str(verified)
        assert second.host.files() == []
    else:
        assert verified.checked
        assert {one.verdict for one in verified.checked} == {Verdict.GOOD}
    assert [image.image_id for image in second.host.catalogue.list_images()] == [second.image_id]
    assert second.host.written() == set()
    assert second.host.files(store) == files


def assert_done(host: Host, image: Image, name: str) -> None:
    """As if nobody else had been there."""
    if name == "delete":
        assert (host.files(), host.rows()) == ([], {})
        return
    stores = {"import": "ab", "copy to c": "abc", "delete from b": "a"}[name]
    assert_holds(host, image.image_id, DATA, *stores)
    assert_settled(host, image.image_id, "abcd")


def assert_undone(host: Host, image: Image, name: str) -> None:
    if name == "import":
        assert host.files() == []
    else:
        assert_holds(host, image.image_id, DATA, "a", "b")
    assert state(host.image(image.image_id)) == state(image)
    assert_settled(host, image.image_id, "abcd")


def first_stands_still(hosts: tuple[Host, Host], name: str, store: str, step: str) -> tuple[Image, Gate, Any]:
    host = hosts[0]
    image = prepared(host, name)
    gate = host.gate(store, step)
    going = beside(Operations(host, image.image_id).start(name))
    assert gate.reached.wait(PATIENCE)
    return image, gate, going


@firsts
def test_the_second_is_refused_and_the_first_goes_on(hosts: tuple[Host, Host], name: str, store: str, step: str) -> None:
    image, gate, going = first_stands_still(hosts, name, store, step)
    second = Operations(hosts[1], image.image_id)
    assert_the_second_is_refused(second, name, store)
    assert not going.done()
    gate.open()
    going.result(PATIENCE)
    assert_done(hosts[1], image, name)
    # And now it is its turn.
    if name != "delete":
        second.do("copy to d")
        assert "d" in hosts[0].image(image.image_id).stores
        second.do("delete")
    assert (hosts[0].files(), hosts[0].rows()) == ([], {})


@pytest.mark.parametrize(("name", "store", "step"), FIRST[:12], ids=lambda value: str(value).replace(" ", "-"))
def test_the_second_is_refused_and_the_first_fails(hosts: tuple[Host, Host], name: str, store: str, step: str) -> None:
    image, gate, going = first_stands_still(hosts, name, store, step)
    second = Operations(hosts[1], image.image_id)
    assert_the_second_is_refused(second, name, store)
    gate.open(StoreFull(store, "full"))
    with pytest.raises(ImportFailed):
        going.result(PATIENCE)
    assert_undone(hosts[1], image, name)
    second.do(name)
    assert_done(hosts[0], image, name)


class TestRealDatabases:
    @pytest.fixture
    def url(self, database: Any) -> str:
        return f"{database.url}"

    @pytest.mark.parametrize(("name", "store", "step"), FEW, ids=lambda value: str(value).replace(" ", "-"))
    def test_the_second_is_refused(self, hosts: tuple[Host, Host], name: str, store: str, step: str) -> None:
        test_the_second_is_refused_and_the_first_goes_on(hosts, name, store, step)

    @pytest.mark.parametrize(("name", "store", "step"), FEW[:2], ids=lambda value: str(value).replace(" ", "-"))
    def test_the_record_is_deleted_by_somebody_else(self, hosts: tuple[Host, Host], name: str, store: str, step: str) -> None:
        test_the_record_is_deleted_by_somebody_else(hosts, name, store, step)


# -- the image goes in the middle of an operation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "store", "step"), FIRST[:12], ids=lambda value: str(value).replace(" ", "-"))
def test_the_record_is_deleted_by_somebody_else(hosts: tuple[Host, Host], name: str, store: str, step: str) -> None:
    """Straight in the database, with the objects that it knew of, as another Glance deletes an image."""
    image, gate, going = first_stands_still(hosts, name, store, step)
    hosts[1].delete_record(image.image_id)
    for location in image.locations:
        Path(location.url.removeprefix("file://")).unlink()
    gate.open()
    with pytest.raises(LockLost) as caught:
        going.result(PATIENCE)
    assert caught.value.exit_code == 6
    assert hosts[1].files() == []
    assert hosts[1].rows() == {}
    found = run(recover(hosts[1].site))
    assert (found.images, found.held, found.leftovers) == ((), (), ())


def reading_b(host: Host, image_id: str) -> tuple[Gate, Any]:
    """A `verify` that is about to read store b."""
    gate = Gate()

    def reading(store_id: str, number: int, total: int) -> None:
        if store_id == "b":
            gate()

    verifying = beside(lambda: verify(host.site, image_id, reading=reading))
    assert gate.reached.wait(PATIENCE)
    return gate, verifying


def test_an_image_is_imported_anew_while_it_is_verified(hosts: tuple[Host, Host]) -> None:
    """What is compared with the record of before is not damaged for that."""
    image = hosts[0].active(DATA, "a", "b")
    gate, verifying = reading_b(hosts[0], image.image_id)
    run(delete_image(hosts[1].site, image.image_id))
    hosts[1].import_(content(seed=9), image_id=image.image_id, stores=["b"])
    gate.open()
    assert [(one.store_id, one.verdict) for one in verifying.result(PATIENCE).checked] == [("a", Verdict.GOOD), ("b", Verdict.GOOD)]


@pytest.mark.parametrize("damage", [True, False])
def test_damage_is_found_whatever_else_goes_on(hosts: tuple[Host, Host], damage: bool) -> None:
    """A record that changes meanwhile excuses nothing."""
    image = hosts[0].active(DATA, "a", "b")
    gate, verifying = reading_b(hosts[0], image.image_id)
    run(copy_image(hosts[1].site, image.image_id, stores=["c"]))
    path = hosts[1].directory("b") / image.image_id
    path.write_bytes(content(seed=9)) if damage else path.unlink()
    gate.open()
    found = verifying.result(PATIENCE)
    assert found.checked[1].verdict is (Verdict.DAMAGED if damage else Verdict.MISSING)
    assert found.damaged


@pytest.mark.parametrize("other", ["delete", "delete from b"])
def test_a_copy_that_is_read_is_deleted_meanwhile(hosts: tuple[Host, Host], other: str) -> None:
    """`verify` holds no lock: what was deleted in due form while it was read is not called damaged."""
    image = hosts[0].active(DATA, "a", "b")
    gate, verifying = reading_b(hosts[0], image.image_id)
    run(Operations(hosts[1], image.image_id).start(other)())
    gate.open()
    if other == "delete":
        with pytest.raises(InvalidRequest, match="is not in the catalogue"):
            verifying.result(PATIENCE)
    else:
        found = verifying.result(PATIENCE)
        assert [(one.store_id, one.verdict) for one in found.checked] == [("a", Verdict.GOOD)]
        assert (found.damaged, found.unreadable) == (False, False)


@pytest.mark.parametrize("others", ["", "b"], ids=["the only one", "one of two"])
def test_a_location_goes_while_a_copy_begins_to_read_it(hosts: tuple[Host, Host], others: str) -> None:
    """Outside of all records, since the lock keeps ours out: the next location is taken, or nothing has happened."""
    image = hosts[0].active(DATA, "a", *others)
    gate = hosts[0].gate("c", "open")
    going = beside(Operations(hosts[0], image.image_id).start("copy to c"))
    assert gate.reached.wait(PATIENCE)
    (hosts[1].directory("a") / image.image_id).unlink()
    gate.open()
    going.result(PATIENCE)  # it was open already, and is read to its end
    assert hosts[1].object("c", image.image_id) == DATA
    (hosts[1].directory("c") / image.image_id).unlink()
    failed = Operations(hosts[1], image.image_id).do("copy to d")
    if others:
        assert any("passed over a" in note for note in failed.notes)
        assert hosts[0].object("d", image.image_id) == DATA
    else:
        assert "can't be read" in str(failed)
        assert hosts[0].files("d") == []
    assert_settled(hosts[0], image.image_id, "abcd")


# -- two catalogues, the same stores ----------------------------------------------------------------------------------------------


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two sites that know nothing of each other but are given the same directories."""
    pair = Host(tmp_path, f"sqlite:///{tmp_path}/one.db"), Host(tmp_path, f"sqlite:///{tmp_path}/two.db")
    yield pair
    for host in pair:
        for name in host.site.stores:
            for fault in host.faulty(name).faults.values():
                if isinstance(fault, Gate):
                    fault.open()
        host.catalogue.close()


def import_to_b(host: Host, image_id: str, data: bytes, name: str) -> Callable[[], Any]:
    source = host.source(data, name)
    return lambda: import_image(host.site, ImportRequest(source, image_id, stores=["b"]))


@pytest.mark.parametrize("same", [True, False], ids=["same-bytes", "other-bytes"])
@pytest.mark.parametrize("step", WRITE_STEPS)
def test_two_catalogues_import_the_same_id(strangers: tuple[Host, Host], step: str, same: bool) -> None:
    """Exactly one writes the object, and nobody touches it again: the other adopts it or is refused."""
    one, two = strangers
    image_id, theirs = one.queued().image_id, DATA if same else content(seed=9)
    gate = one.gate("b", step)
    going = beside(import_to_b(one, image_id, DATA, "one.raw"))
    assert gate.reached.wait(PATIENCE)
    second = outcome(import_to_b(two, image_id, theirs, "two.raw"))
    gate.open()
    try:
        first: Any = going.result(PATIENCE)
    except ImportFailed as error:
        first = error
    won, lost = (first, second) if step == "after commit" else (second, first)
    assert won.notes == ()
    if same:
        assert lost.notes == ("b: was there already, identical: adopted",)
    else:
        assert "is not this image" in str(lost)
    assert two.object("b", image_id) == (DATA if step == "after commit" else theirs)
    assert two.files() == [f"b/{image_id}"]
    for host in strangers:
        assert_settled(host, image_id, "b")


def test_the_maker_takes_it_back_before_the_other_has_done(strangers: tuple[Host, Host]) -> None:
    """Nobody can be asked whether an object is there to stay; so it is looked at once more at the very end."""
    one, two = strangers
    image_id = one.queued().image_id
    made, compared = one.gate("b", "after commit"), two.gate("b", "stat")
    first = beside(import_to_b(one, image_id, DATA, "one.raw"))
    assert made.reached.wait(PATIENCE)
    second = beside(import_to_b(two, image_id, DATA, "two.raw"))
    assert compared.reached.wait(PATIENCE)
    made.open(StoreUnavailable("b", "the answer was lost"))
    with pytest.raises(ImportFailed):
        first.result(PATIENCE)
    compared.open()
    with pytest.raises(ImportFailed, match="equal to the image, and is gone"):
        second.result(PATIENCE)
    assert two.files() == []
    for host in strangers:
        assert_settled(host, image_id, "b")
