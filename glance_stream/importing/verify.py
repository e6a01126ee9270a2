"""Verifying: reading an image back from its stores and naming what is damaged, down to the range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from glance_stream import threads
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DigestRefused
from glance_stream.errors import GlanceStreamError, InvalidRequest, NotFound, ObjectDamaged
from glance_stream.importing.site import Site
from glance_stream.model import Fingerprints, Image, Location, Status
from glance_stream.transfer import Examined, Observer, examine

FINGERPRINT_SIZE = 16


class Verdict(StrEnum):
    """What reading one location has shown."""

    GOOD = "good"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Checked:
    """One location. ``ranges``: (offset, length) in bytes of what differs; empty when only the whole is known to differ."""

    store_id: str
    verdict: Verdict
    reason: str = ""
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Verification:
    """One image in one or more of its stores."""

    image: Image
    checked: tuple[Checked, ...]

    @property
    def damaged(self) -> bool:
        return any(one.verdict in (Verdict.DAMAGED, Verdict.MISSING) for one in self.checked)

    @property
    def unreadable(self) -> bool:
        return any(one.verdict is Verdict.UNREADABLE for one in self.checked)


# A store is about to be read: its id, the how manieth it is, and of how many.
Reading = Callable[[str, int, int], None]


async def verify(
    site: Site, image_id: str, store_id: str | None = None, observer: Observer | None = None, reading: Reading | None = None
) -> Verification:
    """Read the image from one store or from each of its stores, one after the other, and compare with its record.

    Raises InvalidRequest, ImageNotFound. What is wrong with a location is a verdict and not an error. A copy that was deleted in
    due form while the others were read is no copy any more and has no verdict.
    """
    image = await site.image(image_id)
    if image.status is not Status.ACTIVE:
        raise InvalidRequest(f"image {image_id} is {image.status}; only an active image has data to verify")
    if store_id is not None:
        site.store(store_id)
        if store_id not in image.stores:
            raise InvalidRequest(f"image {image_id} is not in store {store_id!r}; it is in {', '.join(image.stores)}")
    recorded = await threads.call(site.catalogue.fingerprints, image_id)
    wanted = [location for location in image.locations if store_id in (None, location.store_id)]
    checked = []
    for number, location in enumerate(wanted, 1):
        if reading is not None:
            reading(location.store_id, number, len(wanted))
        found = await _check(site, image, location, recorded, observer)
        if found.verdict is Verdict.GOOD or store_id is not None or await _is_recorded(site, image_id, location):
            checked.append(found)
    return Verification(image, tuple(checked))


async def _is_recorded(site: Site, image_id: str, location: Location) -> bool:
    return any(one.url == location.url for one in (await site.image(image_id)).locations)


async def _check(site: Site, image: Image, location: Location, recorded: Fingerprints | None, observer: Observer | None) -> Checked:
    algorithm = image.os_hash_algo if image.os_hash_value else "md5" if image.checksum else None
    slot_size = recorded.slot_size if recorded else DEFAULT_SLOT_SIZE
    try:
        source = site.store(location.store_id).open_reader(location)
        found = await examine(source, [algorithm] if algorithm else [], slot_size, site.limits, observer)
    except NotFound as error:
        return Checked(location.store_id, Verdict.MISSING, str(error))
    except ObjectDamaged as error:
        return Checked(location.store_id, Verdict.DAMAGED, str(error))
    except (GlanceStreamError, DigestRefused) as error:
        return Checked(location.store_id, Verdict.UNREADABLE, str(error))
    return _compare(image, location, recorded, found, algorithm)


def _compare(image: Image, location: Location, recorded: Fingerprints | None, found: Examined, algorithm: str | None) -> Checked:
    reasons = []
    if image.size is not None and found.size != image.size:
        reasons.append(f"has {found.size} bytes, recorded are {image.size}")
    if algorithm is not None and found.digests[algorithm] != (image.os_hash_value or image.checksum):
        reasons.append(f"{algorithm} differs")
    size = max(found.size, image.size or 0)
    ranges = differing_ranges(recorded, found.fingerprints, size) if recorded else ()
    if reasons or ranges:
        return Checked(location.store_id, Verdict.DAMAGED, "; ".join(reasons) or "fingerprints differ", ranges)
    return Checked(location.store_id, Verdict.GOOD)


def differing_ranges(recorded: Fingerprints, found: Fingerprints, size: int) -> tuple[tuple[int, int], ...]:
    """Runs of slots whose fingerprints differ, as (offset, length) in bytes of an image of ``size`` bytes."""
    step = recorded.slot_size
    ranges: list[tuple[int, int]] = []
    for number in range(-(-size // step)):
        place = slice(number * FINGERPRINT_SIZE, (number + 1) * FINGERPRINT_SIZE)
        if recorded.digests[place] == found.digests[place]:
            continue
        offset, end = number * step, min((number + 1) * step, size)
        if ranges and sum(ranges[-1]) == offset:
            offset = ranges.pop()[0]
        ranges.append((offset, end - offset))
    return tuple(ranges)
