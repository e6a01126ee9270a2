"""An RBD image under an image's name that somebody is still writing, as Glance does: grown in place, with a snapshot at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_adopting import DATA, transferred
from faults.loop import run
from rbd_pool_view import PoolView
from subject import IMAGE

from glance_stream.errors import Duplicate, ImportFailed


@pytest.mark.parametrize("held", [b"", DATA[:4096], DATA], ids=["nothing yet", "a part", "all but the snapshot"])
def test_an_image_without_its_snapshot_is_not_adopted(view: PoolView, tmp_path: Path, held: bytes) -> None:
    """Whose it is and what becomes of it nobody knows; it is left as it is."""
    (tmp_path / "disk.raw").write_bytes(DATA)
    view.make(IMAGE, held, snapshot=False)
    store = view.store()
    with pytest.raises(ImportFailed) as caught:
        run(transferred(store, tmp_path / "disk.raw"))
    error = caught.value.failures[store.store_id]
    assert isinstance(error, Duplicate)
    assert "is not this image: it can't be read as one" in str(error)
    with view.image(IMAGE) as image:
        assert image.read(0, image.size()) == held
    assert view.snapshots(IMAGE) == {}
    run(store.close())
