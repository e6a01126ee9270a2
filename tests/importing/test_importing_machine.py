"""Any sequence of operations and faults, against a model: what is recorded is there, nothing else is, and nobody holds a lock."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from importing_words import FaultyStore, Limits, assert_settled, content, open_house, run

from glance_stream.errors import GlanceStreamError, InvalidRequest, StoreFull
from glance_stream.importing import Verdict, copy_image, delete_from_store, delete_image, recover, verify
from glance_stream.model import Status
from glance_stream.stores.memory import MemoryStore

STORES = ("a", "b", "m")
FILE_STORES = ("a", "b")
SLOT = 4096
STEPS = st.sampled_from(["open", "write", "flush", "commit", "after commit"])
# No fault, or one step of one file store. What can't be removed has tests of its own.
FAULTS = st.none() | st.tuples(st.sampled_from(FILE_STORES), STEPS)
CHOSEN = st.none() | st.lists(st.sampled_from(STORES), min_size=1, max_size=3, unique=True)
CONTENTS = st.sampled_from([content(size, seed=size) for size in (1, SLOT, 2 * SLOT + 7)])


class Importing(RuleBasedStateMachine):
    """``held``: of each image, its bytes and for each store that has it what that store should hold."""

    images = Bundle("images")

    def __init__(self) -> None:
        super().__init__()
        place = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.root = Path(tempfile.mkdtemp(dir=place))
        self.memory = MemoryStore("m")
        self.files = {name: FaultyStore(name, self.root / name) for name in FILE_STORES}
        self.house = open_house(self.root, {**self.files, "m": self.memory}, limits=Limits(slots=2, slot_size=SLOT, undo_timeout=5))
        self.data: dict[str, bytes] = {}
        self.held: dict[str, dict[str, bytes]] = {}
        self.requested: dict[str, set[str]] = {}

    def teardown(self) -> None:
        self.house.catalogue.close()
        shutil.rmtree(self.root)

    def break_one(self, fault: tuple[str, str] | None) -> set[str]:
        for store in self.files.values():
            store.faults.clear()
        if fault is not None:
            self.files[fault[0]].faults[fault[1]] = StoreFull(fault[0], "full")
        return {fault[0]} if fault else set()

    # -- rules

    @rule(target=images, data=CONTENTS, chosen=CHOSEN, must=st.booleans(), fault=FAULTS)
    def import_a_new_image(self, data, chosen, must, fault):
        image_id = str(uuid.uuid4())
        self.held[image_id] = {}
        self.import_queued(image_id, data, chosen, must, fault)
        return image_id

    @rule(image_id=images, data=CONTENTS, chosen=CHOSEN, must=st.booleans(), fault=FAULTS)
    def import_again(self, image_id, data, chosen, must, fault):
        if image_id not in self.held:
            return
        if self.held[image_id]:
            try:
                self.house.import_(data, image_id=image_id, all_stores=True)
            except InvalidRequest:
                return
            raise AssertionError("an active image was imported again")
        self.import_queued(image_id, data, chosen, must, fault)

    def import_queued(self, image_id, data, chosen, must, fault):
        wanted = set(chosen or STORES)
        broken = self.break_one(fault) & wanted
        self.requested.setdefault(image_id, set()).update(wanted)
        expected = wanted - broken if not (must and broken) else set()
        options = {"stores": chosen} if chosen else {"all_stores": True}
        try:
            outcome = self.house.import_(data, image_id=image_id, all_stores_must_succeed=must, **options)
        except GlanceStreamError:
            assert not expected
        else:
            assert set(outcome.image.stores) == expected
            assert set(outcome.failures) == broken
            self.data[image_id] = data
            self.held[image_id] = dict.fromkeys(expected, data)

    @rule(image_id=images, chosen=CHOSEN, must=st.booleans(), fault=FAULTS)
    def copy(self, image_id, chosen, must, fault):
        before = dict(self.held.get(image_id, {}))
        wanted = set(chosen or STORES) - set(before)
        refused = not before or (chosen is not None and set(chosen) & set(before))
        good = self.data.get(image_id) in before.values()
        broken = self.break_one(fault) & wanted
        options = {"stores": chosen} if chosen else {"all_stores": True}
        expected = set() if refused or not good or (must and broken) else wanted - broken
        try:
            run(copy_image(self.house.site, image_id, all_stores_must_succeed=must, **options))
        except GlanceStreamError:
            assert not expected
            if not refused:
                self.requested[image_id] |= wanted
        else:
            assert not wanted or expected
            assert not refused
            self.requested[image_id] |= wanted
            self.held[image_id] |= dict.fromkeys(expected, self.data[image_id])

    @rule(image_id=images, store_id=st.sampled_from(STORES))
    def delete_from_one_store(self, image_id, store_id):
        self.break_one(None)
        held = self.held.get(image_id, {})
        try:
            run(delete_from_store(self.house.site, image_id, store_id))
        except InvalidRequest:
            assert len(held) < 2 or store_id not in held
        else:
            assert len(held) > 1
            del held[store_id]

    @rule(image_id=consumes(images))
    def delete(self, image_id):
        self.break_one(None)
        if image_id in self.held:
            run(delete_image(self.house.site, image_id))
            del self.held[image_id]
            self.data.pop(image_id, None)

    @rule(image_id=images, store_id=st.sampled_from(STORES))
    def corrupt_and_verify(self, image_id, store_id):
        """The very store is named, and the good ones are not."""
        held = self.held.get(image_id, {})
        if store_id in held:
            bad = bytes([self.data[image_id][0] ^ 1]) + self.data[image_id][1:]
            held[store_id] = bad
            if store_id == "m":
                self.memory.objects[image_id] = bad
            else:
                (self.root / store_id / image_id).write_bytes(bad)
        if held:
            found = {one.store_id: one for one in run(verify(self.house.site, image_id)).checked}
            for name, data in held.items():
                good = data == self.data[image_id]
                assert found[name].verdict is (Verdict.GOOD if good else Verdict.DAMAGED)
                assert [offset for offset, _ in found[name].ranges] == ([] if good else [0])

    @rule()
    def recover(self):
        self.break_one(None)
        found = run(recover(self.house.site))
        assert (found.images, found.held, found.removed, found.leftovers) == ((), (), (), ())

    # -- what always holds

    @invariant()
    def the_stores_hold_what_is_recorded_and_nothing_else(self):
        files = {f"{store_id}/{image_id}" for image_id, held in self.held.items() for store_id in held if store_id != "m"}
        assert set(self.house.files()) == files
        assert set(self.memory.objects) == {image_id for image_id, held in self.held.items() if "m" in held}
        assert self.memory.pending == {}
        assert self.house.catalogue.leftovers() == []

    @invariant()
    def the_records_say_what_is_true(self):
        listed = {image.image_id: image for image in self.house.catalogue.list_images()}
        assert listed.keys() == self.held.keys()
        for image_id, held in self.held.items():
            image = listed[image_id]
            assert_settled(self.house, image_id, self.requested[image_id])
            assert set(image.stores) == set(held)
            assert image.status is (Status.ACTIVE if held else Status.QUEUED)
            expected = hashlib.sha512(self.data[image_id]).hexdigest() if held else None
            assert image.os_hash_value == expected
            for store_id, data in held.items():
                stored = self.memory.objects[image_id] if store_id == "m" else self.house.object(store_id, image_id)
                assert stored == data


Importing.TestCase.settings = settings(
    max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestImporting = Importing.TestCase
