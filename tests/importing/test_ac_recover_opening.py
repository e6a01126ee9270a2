"""Processes that die, and stores that hang, while writers are opened: the journal knows what is left before it is there (AC21)."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from importing_words import LIMITS, House, assert_settled, content, file_stores, run, state

from glance_stream.errors import ImportFailed
from glance_stream.importing import recover

DATA = content()
OpenSite = Callable[..., House]
Python = Callable[..., subprocess.Popen[str]]

# argv: root, image id, moment, number: at which record of a trace, or at which creation of a temporary file, the process dies.
DYING_OPENING = """
import os, sys
from pathlib import Path
from glance_stream.importing import ImportRequest, import_image
from importing_words import content, die, open_house, run
root, image_id, moment, number = sys.argv[1:]
left = int(number)
house = open_house(Path(root))
real_open, real_opened = os.open, house.catalogue.opened

def at_last():
    global left
    left -= 1
    if left == 0:
        die()

def opened(*args):
    real_opened(*args)
    if moment == "recorded":
        at_last()

def create(path, *args, **options):
    if not str(path).endswith(".part"):
        return real_open(path, *args, **options)
    if moment == "before creation":
        at_last()
    fd = real_open(path, *args, **options)
    if moment == "after creation":
        at_last()
    return fd

house.catalogue.opened, os.open = opened, create
run(import_image(house.site, ImportRequest(house.source(content()), image_id, all_stores=True)))
"""


@pytest.mark.parametrize(
    ("moment", "number"),
    [("recorded", 1), *((moment, number) for moment in ("before creation", "after creation") for number in (1, 2, 3))],
)
def test_ac21_killed_while_the_stores_are_opened(house: House, python: Python, moment: str, number: int) -> None:
    """No temporary file is ever there that the journal does not know, so that none stays."""
    before = house.queued()
    assert python(DYING_OPENING, house.root, before.image_id, moment, number).wait(timeout=20) == -9
    (left,) = house.catalogue.interrupted()
    assert left.journal is not None
    known = {(entry.trace or "").rpartition("/")[2] for entry in left.journal.entries}
    assert len(known) == 3
    assert {name.partition("/")[2] for name in house.files()} <= known
    assert len(house.files()) >= (number if moment == "after creation" else 0)
    found = run(recover(house.site))
    assert (found.images, found.held, found.leftovers) == ((before.image_id,), (), ())
    assert house.files() == []
    assert state(house.image(before.image_id)) == state(before)
    assert_settled(house, before.image_id, "abc")


@pytest.mark.parametrize("step", ["open", "opened"])
def test_an_opening_that_hangs_for_good_is_a_leftover_that_can_be_discarded(open_site: OpenSite, tmp_path: Path, step: str) -> None:
    """Past both time limits, until the process ends: the file that it may have made is found by its trace."""
    go = threading.Event()
    stores = file_stores(tmp_path, "a", b={step: lambda: go.wait(20) and None})
    house = open_site(stores, limits=replace(LIMITS, store_timeout=0.2, undo_timeout=0.2))
    before = house.queued()
    (tmp_path / "stores" / "b").mkdir(parents=True)  # where there is no directory it may not be mounted, and the leftover stays
    with pytest.raises(ImportFailed) as caught:
        house.import_(DATA, image_id=before.image_id, all_stores=True)
    assert [left.store_id for left in caught.value.leftovers] == ["b"]
    assert len(house.files()) == (step == "opened")
    assert [one.leftover for one in house.catalogue.leftovers()] == list(caught.value.leftovers)
    found = run(recover(house.site))
    assert (found.removed, found.leftovers) == (caught.value.leftovers, ())
    assert (house.files(), house.catalogue.leftovers()) == ([], [])
    assert state(house.image(before.image_id)) == state(before)
    go.set()
