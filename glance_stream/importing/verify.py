"""Verifying: reading an image back from its stores and naming what is damaged, down to the range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from glance_stream import threads
from glance_stream.catalogue import may_be_taken_over
from glance_stream.chunker import DEFAULT_SLOT_SIZE, DigestRefused
from glance_stream.errors import GlanceStreamError, InvalidRequest, NotFound, ObjectDamaged
from glance_stream.importing.site import Site
from glance_stream.model import Fingerprints, Image, Location, Status
from glance_stream.transfer import Examined, Observer, examine

FINGERPRINT_SIZE = 16
LOOKS = 3  # at a location whose record changes while it is read


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
    due form meanwhile, or is being deleted, is no copy any more and has no verdict.
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
        found = await _verdict(site, image, location, recorded, observer)
        if found is not None:
            checked.append(found)
        elif store_id is not None:
            raise InvalidRequest(f"image {image_id} was deleted from store {store_id!r} while it was read")
    if not checked:
        raise InvalidRequest(f"image {image_id} was deleted while it was read")
    return Verification(image, tuple(checked))


async def _verdict(
    site: Site, image: Image, location: Location, recorded: Fingerprints | None, observer: Observer | None
) -> Checked | None:
    """None for a copy that is none any more. Raises ImageNotFound when the image is gone altogether.

    No lock is held, for reading may take hours. So what is found bad counts only if the record, when it is looked at again, is
    still that with which it was compared: the image may have been deleted meanwhile and imported anew, of other bytes.
    """
    for _ in range(LOOKS):
        found = await _check(site, image, location, recorded, observer)
        if found.verdict is Verdict.GOOD:
            break
        deleting = await _being_deleted(site, image.image_id)  # first: what is deleted by now is not recorded any more
        before, image = image, await site.image(image.image_id)
        if location.url in deleting or all(one.url != location.url for one in image.locations):
            return None
        if image.updated_at == before.updated_at:
            break
        recorded = await threads.call(site.catalogue.fingerprints, image.image_id)
    return found


async def _being_deleted(site: Site, image_id: str) -> set[str]:
    """URLs whose data is about to go, or gone, and whose record is to follow: not where the process that was at it is dead."""
    interrupted = await threads.call(site.catalogue.interruption, image_id)
    if interrupted is None or interrupted.deletion is None or may_be_taken_over(interrupted.task):
        return set()
    return {location.url for location in interrupted.deletion.locations}


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
