"""Deleting one image of an RBD store: all of it, or nothing of it."""

from __future__ import annotations

from typing import Any

from glance_stream.errors import ObjectBusy
from glance_stream.stores.rbd.images import Images, remove_snapshot
from glance_stream.stores.rbd.names import Place


def delete_image(store_id: str, rbd: Any, images: Images, place: Place) -> None:
    """Raises ObjectBusy, with everything as before, while clones, other snapshots or clients use it; ImageNotFound.

    glance_store first takes the snapshot away, and then finds out that the image is open; since 4.6 it moves an image with other
    snapshots to the trash, where it takes up room until somebody looks for it. Here such an image is looked at first and refused.
    """
    images.await_unwatched(place.image, patience=0)
    opened = had = False
    try:
        with images.opened(place.image, read_only=False) as image:
            opened = True
            _require_unused(store_id, rbd, image, place)
            had = _has_snapshot(image, place.snapshot)
            remove_snapshot(rbd, image, place.snapshot)
    except rbd.ImageNotFound:
        pass  # its header is gone: an earlier removal was cut short, and is finished now
    try:
        images.remove(place.image)
    except rbd.ImageNotFound:
        if not opened:  # else it is removed now, and was in the pool's directory by another name: a rename was cut short
            raise
    except (rbd.ImageBusy, rbd.ImageHasSnapshots):  # since it was looked at
        if had:
            _restore_snapshot(images, place)
        raise


def _require_unused(store_id: str, rbd: Any, image: Any, place: Place) -> None:
    others = sorted(each["name"] for each in image.list_snaps() if each["name"] != place.snapshot)
    if others:
        raise ObjectBusy(store_id, f"image {place.image} has other snapshots: {', '.join(others)}")
    # Clones of format 2 don't need a protected snapshot, and don't keep one from being removed.
    if image.op_features() & rbd.RBD_OPERATION_FEATURE_CLONE_PARENT:
        raise ObjectBusy(store_id, f"image {place.image} has clones")


def _has_snapshot(image: Any, name: str) -> bool:
    return any(each["name"] == name for each in image.list_snaps())


def _restore_snapshot(images: Images, place: Place) -> None:
    with images.opened(place.image, read_only=False) as image:
        image.create_snap(place.snapshot)
        image.protect_snap(place.snapshot)
