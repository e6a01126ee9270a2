"""What must hold after every recovery (and after every interrupt that was heeded), looked at from outside.

Nothing here asks the product: records come by plain SQL, objects and bytes by the stores' own clients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from crash.places import Place
from crash.records import LISTS, LOCK, ImageRecord, Records

# What a request that was sent and never answered may still bring is no broken promise: it is on record, and settled later.
IN_DOUBT = "the commit may have taken effect"


@dataclass(frozen=True)
class Content:
    """What an image's bytes are known by to whoever made them."""

    size: int
    sha512: str


@dataclass(frozen=True)
class State:
    """An image as it may be: ``stores`` is None where there is no record, and empty for a queued image."""

    stores: frozenset[str] | None = None

    def __str__(self) -> str:
        if self.stores is None:
            return "absent"
        return f"active in {', '.join(sorted(self.stores))}" if self.stores else "queued"


def state_of(record: ImageRecord | None) -> State:
    return State(None if record is None else frozenset(record.locations))


def violations(
    records: Records,
    places: Sequence[Place],
    contents: Mapping[str, Content],
    allowed: Mapping[str, Collection[State]],
    whole: Collection[str],
) -> list[str]:
    """What is broken, in words. ``allowed``: what each image may be now; ``whole``: whose bytes are read, not only their size."""
    broken = [f"{count} rows are left in {name}" for name, count in records.rows.items() if count]
    for image_id, leftover in ((one[0], one) for one in records.leftovers):
        if not leftover[3].startswith(IN_DOUBT):
            broken.append(f"image {image_id}: left in {leftover[1]}: {leftover[2]}: {leftover[3]}")
    for image_id in {*records.images, *allowed}:
        found = state_of(records.images.get(image_id))
        if found not in allowed.get(image_id, ()):
            may = " or ".join(map(str, allowed.get(image_id, ()))) or "absent"
            broken.append(f"image {image_id} is {found}, and may be {may}")
    for image_id, record in records.images.items():
        broken += [f"image {image_id}: {reason}" for reason in _record(record, contents.get(image_id))]
    for place in places:
        broken += _place(place, records, contents, whole)
    return broken


def _record(record: ImageRecord, content: Content | None) -> list[str]:
    broken = []
    if record.status not in ("queued", "active"):
        broken.append(f"its status is {record.status}")
    if LOCK in record.properties:
        broken.append(f"it is locked by {record.properties[LOCK]}")
    importing, failed = (set(record.properties.get(name, "").split(",")) - {""} for name in LISTS)
    if importing:
        broken.append(f"it is said to be importing to {sorted(importing)}")
    if failed & set(record.locations):
        broken.append(f"it is said to have failed in {sorted(failed)}, and is in {sorted(record.locations)}")
    facts = (record.size, record.os_hash_value)
    if record.status == "active":
        if not record.locations:
            broken.append("it is active without a location")
        if content is not None and facts != (content.size, content.sha512):
            broken.append(f"it records size {record.size} and hash {record.os_hash_value}, and was {content}")
    elif record.locations or facts != (None, None) or record.checksum is not None:
        broken.append(f"it is {record.status} with {record}")
    return broken


def _place(place: Place, records: Records, contents: Mapping[str, Content], whole: Collection[str]) -> list[str]:
    store_id = place.store_id
    expected = [image_id for image_id, record in records.images.items() if store_id in record.locations]
    objects, strange = place.look(expected)
    broken = [f"{store_id} holds {name}, which is no image's" for name in strange]
    for image_id in expected:
        content = contents[image_id]
        if image_id not in objects:
            broken.append(f"{store_id} does not hold image {image_id}, which is recorded there")
        elif objects[image_id] != content.size:
            broken.append(f"{store_id} holds {objects[image_id]} bytes of image {image_id}, which has {content.size}")
        elif image_id in whole and place.sha512(image_id) != content.sha512:
            broken.append(f"{store_id} holds other bytes of image {image_id}")
    return broken
