"""Three stores that can be told to go wrong, one image, and what must be true afterwards."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping
from typing import Any

from faults.fault import Fault
from faults.recorder import FaultyRecorder
from faults.store import FaultyStore

from glance_stream.sources.base import Source
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer import Limits, Transferred, TransferRequest, transfer

IMAGE = "8c7dd922-ad47-4cfc-a91f-84e4e9e8a3a1"
SLOT = 4096
DATA = random.Random(7).randbytes(5 * SLOT + 321)  # several times round the two slots of the ring
LIMITS = Limits(slots=2, slot_size=SLOT, store_timeout=5.0, source_timeout=5.0, undo_timeout=2.0)
IMPATIENT = Limits(slots=2, slot_size=SLOT, store_timeout=0.6, source_timeout=5.0, undo_timeout=0.6)


class Stage:
    """Stores s0, s1 and so on, in memory."""

    def __init__(self, count: int = 3) -> None:
        self.memory = [MemoryStore(f"s{number}") for number in range(count)]
        self.stores = [FaultyStore(store) for store in self.memory]
        self.recorder = FaultyRecorder()
        self._faults: list[Fault] = []

    def script(self, number: int, faults: Mapping[str, Fault]) -> None:
        """What goes wrong in one of the stores."""
        self.stores[number].script.update(faults)
        self._faults += faults.values()

    def transfer(self, source: Source, **fields: Any) -> Coroutine[Any, Any, Transferred]:
        request = TransferRequest(**{"image_id": IMAGE, "source": source, "stores": self.stores, "limits": LIMITS, **fields})
        return transfer(request, self.recorder)

    def assert_only(self, *store_ids: str, data: bytes = DATA) -> None:
        """These stores hold exactly the image, the others nothing, and none of them anything else."""
        for store in self.memory:
            assert store.objects == ({IMAGE: data} if store.store_id in store_ids else {}), store.store_id
            assert store.pending == {}, store.store_id

    def release(self) -> None:
        for fault in (*self._faults, *self.recorder.script.values()):
            fault.release()
