"""What the tests of the catalogue say again and again."""

from __future__ import annotations

from glance_stream.model import Fingerprints, Location

# size, checksum, os_hash_algo, os_hash_value, fingerprints: what `Catalogue.verified` takes
CONTENT = (5, "c" * 32, "sha512", "ab" * 64, Fingerprints(1 << 22, b"f" * 16))
FULL = {"b": ("StoreFull", "store 'b': no space left")}


def at(store_id: str) -> Location:
    return Location(f"file:///srv/{store_id}/object", store_id, {"mount": "ä"})
